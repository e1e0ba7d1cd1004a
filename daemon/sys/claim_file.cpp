#include "daemon/sys/claim_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mtd::sys {
namespace {

constexpr char kMagic[8] = {'M', 'T', 'D', 'C', 'L', 'M', '0', '1'};

struct Header {
  char magic[8] = {};
  char boot[56] = {};  // cut off where they are longer
  char life[64] = {};
};
static_assert(sizeof(Header) == 128 && sizeof(FiledClaim) == 32);

template <std::size_t size>
void put(char (&field)[size], std::string_view text) {
  std::memcpy(field, text.data(), std::min(size, text.size()));
}

off_t offset_of(std::uint32_t place) {
  return static_cast<off_t>(sizeof(Header) + std::size_t{place} * sizeof(FiledClaim));
}

// A file is as long as its last used place.
Result<std::size_t> read_at(int file, void* to, std::size_t size, off_t at) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got =
        ::pread(file, static_cast<char*>(to) + done, size - done, at + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno("read the claims", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

bool write_at(int file, const void* from, std::size_t size, off_t at) {
  ssize_t done = 0;
  do {
    done = ::pwrite(file, from, size, at);
  } while (done < 0 && errno == EINTR);
  if (done >= 0 && done != static_cast<ssize_t>(size)) errno = ENOSPC;
  return done == static_cast<ssize_t>(size);
}

}  // namespace

Result<ClaimFile> ClaimFile::open(const std::string& path, std::string_view boot,
                                  std::string_view life) {
  constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  UniqueFd file(::open(path.c_str(), kFlags));
  if (!file && errno == ENOENT) {
    file.reset(::open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0600));
    if (!file && errno != EEXIST) {
      ClaimFile none;
      none.trouble_ = Error::from_errno("make " + path, errno).message;
      return none;
    }
  }
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return Error::from_errno("open " + path, errno);
  if (!S_ISREG(info.st_mode)) return Error{path + " is no file"};
  ClaimFile claims(std::move(file));
  if (const auto begun = claims.begin(boot, life); !begun) return begun.error().with_context(path);
  if (!claims.trouble_.empty()) claims.trouble_ = path + ": " + claims.trouble_;
  return claims;
}

Result<void> ClaimFile::begin(std::string_view boot, std::string_view life) {
  Header wanted, found;
  std::memcpy(wanted.magic, kMagic, sizeof kMagic);
  put(wanted.boot, boot);
  put(wanted.life, life);
  std::vector<FiledClaim> places(kClaimPlaces);
  auto got = read_at(file_.get(), &found, sizeof found, 0);
  if (!got) return got.error();
  const bool ours = std::memcmp(found.magic, wanted.magic, sizeof found.magic) == 0 &&
                    std::memcmp(found.boot, wanted.boot, sizeof found.boot) == 0;
  const bool same_life = std::memcmp(found.life, wanted.life, sizeof found.life) == 0;
  if (ours) {
    got = read_at(file_.get(), places.data(), places.size() * sizeof places[0], offset_of(0));
    if (!got) return got.error();
    places.resize(*got / sizeof places[0]);
  } else {
    places.clear();
    if (::ftruncate(file_.get(), 0) != 0) stop_writing("empty it", errno);
  }
  for (std::uint32_t place = 0; place < places.size(); ++place) {
    FiledClaim& claim = places[place];
    if (claim.task == 0) continue;
    if (!same_life && claim.incarnation != 0) {
      claim.incarnation = 0;
      write(&claim, sizeof claim, offset_of(place));
    }
    left_.emplace_back(place, claim);
  }
  if (!ours || !same_life) write(&wanted, sizeof wanted, 0);
  return {};
}

void ClaimFile::stop_writing(const char* what, int error) {
  trouble_ = Error::from_errno(what, error).message;
  file_.reset();
}

void ClaimFile::write(const void* from, std::size_t size, std::int64_t at) {
  if (file_ && !write_at(file_.get(), from, size, at)) stop_writing("write it", errno);
}

void ClaimFile::keep(const std::set<std::uint32_t>& places) {
  const FiledClaim none;
  for (const auto& [place, claim] : left_) {
    if (places.count(place) == 0) write(&none, sizeof none, offset_of(place));
  }
  free_.clear();
  for (std::uint32_t place = kClaimPlaces; place-- > 0;) {
    if (places.count(place) == 0) free_.push_back(place);
  }
}

std::optional<std::uint32_t> ClaimFile::add(const FiledClaim& claim) {
  if (!file_ || free_.empty()) return std::nullopt;
  const std::uint32_t place = free_.back();
  if (!write_at(file_.get(), &claim, sizeof claim, offset_of(place))) return std::nullopt;
  free_.pop_back();
  return place;
}

}  // namespace mtd::sys
