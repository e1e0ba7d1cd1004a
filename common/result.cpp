#include "common/result.h"

#include <cstring>

namespace mtd {

// Not by std::generic_category(): to check that virtual call a sanitizer needs a descriptor, of
// which there may be none left where this is called.
Error Error::from_errno(std::string_view what, int errno_value) {
  char room[128];
  const char* const text = ::strerror_r(errno_value, room, sizeof room);  // GNU's
  return {std::string(what) + ": " + text, errno_value};
}

Error Error::with_context(std::string_view context) const {
  return {std::string(context) + ": " + message, errno_value};
}

}  // namespace mtd
