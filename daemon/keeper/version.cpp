#include "daemon/keeper/upgrade.h"

namespace mtd::keeper {

const char kVersion[] = MTD_VERSION;
const char kTableMagic[8] = {'m', 't', 'd', 't', 'a', 'b', 'l', 'e'};

}  // namespace mtd::keeper
