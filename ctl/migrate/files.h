// Reads a supervisord.conf and the files its [include] names.
#pragma once

#include <string>

#include "ctl/migrate/ini.h"
#include "ctl/migrate/notes.h"

namespace mtd::ctl {

// What cannot be read is an error in the notes. `host`: for %(host_node_name)s in [include].
[[nodiscard]] IniDocument read_supervisord_files(const std::string& path, const std::string& host,
                                                 Notes& notes);

}  // namespace mtd::ctl
