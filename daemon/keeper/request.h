// A request as it came from the role: its bytes and the descriptors that came along. Whoever has
// one closes what was not taken out of it; refuse() is asked before anything in it is believed.
#pragma once

#include <cstddef>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {

inline constexpr std::size_t kMaxPassed = 253;  // SCM_MAX_FD

struct Request {
  alignas(8) char bytes[2 * sizeof(Notify)] = {};  // with room for what a newer role sends
  std::size_t size = 0;
  int fds[kMaxPassed] = {};
  std::uint32_t fd_count = 0;
  bool too_long = false, descriptors_lost = false;

  [[nodiscard]] const Header& header() const { return *reinterpret_cast<const Header*>(bytes); }
  template <class T>
  [[nodiscard]] const T& as() const {
    return *reinterpret_cast<const T*>(bytes);
  }
  // Takes descriptor `i` out, so that it is not closed with the others.
  int take(std::uint32_t i) {
    const int fd = fds[i];
    fds[i] = -1;
    return fd;
  }
  void close_rest() {
    for (std::uint32_t i = 0; i < fd_count; ++i)
      close_fd(fds[i]);
  }
};

enum class Received : std::uint8_t { request, nothing, gone };

Received receive(int socket, Request& request);
// 0, or the errno that a request which is none, or not whole, is answered with.
[[nodiscard]] int refuse(const Request& request);

// Moves a descriptor above all that a child of the revision gets, so that none of those takes its
// place before it was copied. 0 or errno.
[[nodiscard]] int lift(int& fd, const sys::SpecView& spec);

// What the role deposits; each returns 0 or the errno of its answer. deposits.cpp
int store_revision(Keeper& keeper, Request& request);
int forget(Keeper& keeper, std::uint64_t id);
int hold(Keeper& keeper, Request& request);
int drop(Keeper& keeper, const Drop& message);
void fetch(Keeper& keeper, const Request& request);  // answers by itself
// The answer with a descriptor, which the role does not own unless the caller says so.
void answer_held(Role& role, const Request& request, int error, int fd);

}  // namespace mtd::keeper
