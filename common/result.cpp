#include "common/result.h"

#include <system_error>

namespace mtd {

Error Error::from_errno(std::string_view what, int errno_value) {
  return {std::string(what) + ": " + std::generic_category().message(errno_value), errno_value};
}

Error Error::with_context(std::string_view context) const {
  return {std::string(context) + ": " + message, errno_value};
}

}  // namespace mtd
