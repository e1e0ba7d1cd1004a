#include "config/identity.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "common/escape.h"

namespace mtd::config {
namespace {

constexpr std::size_t kMaxRecord = 1024 * 1024;  // of the name service
constexpr std::uint32_t kNoId = 0xFFFFFFFFU;     // (uid_t)-1 means "leave as is" in setresuid(2)

struct User {
  std::string name, home, shell;
  std::uint32_t uid = 0, gid = 0;
};
struct Group {
  std::string name;
  std::uint32_t gid = 0;
};

std::string quoted(std::string_view text) {
  return "\"" + escape_for_terminal(text.substr(0, 64)) + "\"";
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

Result<std::uint32_t> parse_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size() || id == kNoId) {
    return Error{quoted(text) + " is not an id; the largest is 4294967294"};
  }
  return id;
}

// Calls one of the get…_r functions with a growing buffer. Empty: there is no such entry.
template <class Record, class Call>
Result<std::optional<Record>> ask(std::vector<char>& buffer, Call call) {
  for (buffer.resize(4096); buffer.size() <= kMaxRecord; buffer.resize(buffer.size() * 2)) {
    Record record{};
    Record* found = nullptr;
    const int error = call(&record, buffer.data(), buffer.size(), &found);
    if (error == ERANGE) continue;
    if (found != nullptr) return std::optional<Record>(record);
    // getpwnam(3): "not found" may come as 0 or as any of these.
    if (error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM) {
      return std::optional<Record>();
    }
    return Error::from_errno("the name service failed", error);
  }
  return Error{"the name service gave a record of more than 1 MiB"};
}

Result<std::optional<User>> find_user(std::optional<std::uint32_t> uid, const std::string& name) {
  std::vector<char> buffer;
  auto found =
      ask<struct passwd>(buffer, [&](auto* record, char* bytes, std::size_t size, auto** out) {
        return uid ? ::getpwuid_r(*uid, record, bytes, size, out)
                   : ::getpwnam_r(name.c_str(), record, bytes, size, out);
      });
  if (!found) return found.error();
  if (!found->has_value()) return std::optional<User>();
  const struct passwd& entry = **found;
  const auto text = [](const char* value) { return std::string(value == nullptr ? "" : value); };
  return std::optional(User{text(entry.pw_name), text(entry.pw_dir), text(entry.pw_shell),
                            entry.pw_uid, entry.pw_gid});
}

Result<std::optional<Group>> find_group(std::optional<std::uint32_t> gid, const std::string& name) {
  std::vector<char> buffer;
  auto found =
      ask<struct group>(buffer, [&](auto* record, char* bytes, std::size_t size, auto** out) {
        return gid ? ::getgrgid_r(*gid, record, bytes, size, out)
                   : ::getgrnam_r(name.c_str(), record, bytes, size, out);
      });
  if (!found) return found.error();
  if (!found->has_value()) return std::optional<Group>();
  return std::optional(Group{(*found)->gr_name, (*found)->gr_gid});
}

// A user of the name service; for a number that it does not know, one without a name.
struct FoundUser {
  User user;
  bool known = false;
};

Result<FoundUser> user_of(const std::string& text) {
  if (!is_number(text)) {
    auto found = find_user(std::nullopt, text);
    if (!found) return found.error();
    if (!found->has_value()) {
      return Error{"unknown user " + quoted(text) +
                   "; name one of the users of this system, or a number"};
    }
    return FoundUser{**found, true};
  }
  const auto uid = parse_id(text);
  if (!uid) return uid.error();
  auto found = find_user(*uid, "");
  if (!found) return found.error();
  if (found->has_value()) return FoundUser{**found, true};
  return FoundUser{User{text, "/", "/bin/sh", *uid, kNoId}, false};
}

Result<Group> group_of(const std::string& text) {
  std::optional<std::uint32_t> gid;
  if (is_number(text)) {
    const auto id = parse_id(text);
    if (!id) return id.error();
    gid = *id;
  }
  auto found = find_group(gid, text);
  if (!found) return found.error();
  if (found->has_value()) return **found;
  if (gid) return Group{text, *gid};
  return Error{"unknown group " + quoted(text) +
               "; name one of the groups of this system, or a number"};
}

std::vector<std::uint32_t> memberships(const std::string& user, std::uint32_t gid) {
  int count = 64;
  std::vector<gid_t> groups;
  for (int attempt = 0; attempt < 8; ++attempt) {
    groups.resize(static_cast<std::size_t>(count));
    if (::getgrouplist(user.c_str(), gid, groups.data(), &count) >= 0) break;
    if (count <= 0 || count > 65'536) count = 65'536;
  }
  groups.resize(static_cast<std::size_t>(std::clamp(count, 0, static_cast<int>(groups.size()))));
  return {groups.begin(), groups.end()};
}

void sort_unique(std::vector<std::uint32_t>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

std::string group_name(std::uint32_t gid) {
  auto found = find_group(gid, "");
  return found && found->has_value() ? (*found)->name : std::to_string(gid);
}

Identity identity_of(const User& user) {
  Identity identity;
  identity.user_name = user.name;
  identity.home = user.home.empty() ? "/" : user.home;
  identity.shell = user.shell.empty() ? "/bin/sh" : user.shell;
  identity.uid = user.uid;
  identity.gid = user.gid;
  return identity;
}

}  // namespace

Result<std::uint32_t> resolve_group(std::string_view name) {
  const auto group = group_of(std::string(name));
  if (!group) return group.error();
  return group->gid;
}

Identity own_identity() {
  const auto found = find_user(::geteuid(), "");
  if (found && found->has_value()) {
    Identity identity = identity_of(**found);
    identity.gid = ::getegid();
    return identity;
  }
  return identity_of({std::to_string(::geteuid()), "/", "/bin/sh", ::geteuid(), ::getegid()});
}

std::variant<Identity, IdentityError> resolve_identity(const IdentityKeys& keys) {
  const auto user = user_of(keys.user.value_or(std::to_string(::geteuid())));
  if (!user) return IdentityError{"user", user.error().message};
  Identity identity = identity_of(user->user);
  if (!keys.user) identity.gid = ::getegid();
  if (keys.group) {
    const auto group = group_of(*keys.group);
    if (!group) return IdentityError{"group", group.error().message};
    identity.gid = group->gid;
  } else if (identity.gid == kNoId) {
    return IdentityError{
        "user", "uid " + *keys.user + " has no entry in the user database; give \"group\" too"};
  }
  identity.group_name = group_name(identity.gid);
  if (user->known) identity.groups = memberships(identity.user_name, identity.gid);
  if (keys.groups) {
    identity.groups.clear();
    for (const std::string& name : *keys.groups) {
      const auto group = group_of(name);
      if (!group) return IdentityError{"groups", group.error().message};
      identity.groups.push_back(group->gid);
    }
  }
  sort_unique(identity.groups);
  return identity;
}

}  // namespace mtd::config
