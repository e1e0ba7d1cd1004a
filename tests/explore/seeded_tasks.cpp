// Which deliberate fault the model has that this program was built with.
#include "daemon/broker/model/seeded_fault.h"
#include "tests/explore/seeded_number.h"

namespace mtd::task {

const SeededFault kSeededFault = static_cast<SeededFault>(test::seeded_number());

}  // namespace mtd::task
