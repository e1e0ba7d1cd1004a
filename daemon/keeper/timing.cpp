#include "daemon/keeper/timing.h"

namespace mtd::keeper {

const Timing kTiming;

}  // namespace mtd::keeper
