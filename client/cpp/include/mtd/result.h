// Result and Error, as all of mtd uses them. In an installed mtd this is the file itself.
#pragma once

#include "common/result.h"  // IWYU pragma: export
