// The socket between the broker and one worker. The broker reads it without consuming: a frame is
// taken out only when what it says is on record, so that a broker that is killed in between loses
// nothing. It writes a frame whole or not at all, so that nobody is left with half of one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

// First mtd's end, then the worker's.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> make_task_socket();
// First the supervisor's end, then the broker's; SOCK_SEQPACKET.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> make_link();

struct Peeked {
  std::size_t bytes = 0;
  bool ended = false;  // the other end is closed, and everything it wrote is in these bytes
};
// What is there, as much as `into` has room for; it stays there.
[[nodiscard]] Peeked peek(int socket, char* into, std::size_t room);
// Takes out what has been seen.
void consume(int socket, std::size_t bytes);

// The kernel takes so much whole or not at all, because it is one piece to it: half of the smallest
// send buffer anyone would set (unix(7); af_unix.c, unix_stream_sendmsg).
inline constexpr std::size_t kOnePiece = 2048;

enum class Written { done, later, gone };  // later: there is no room for all of it now
[[nodiscard]] Written write_whole(int socket, std::string_view bytes);

}  // namespace mtd::sys
