// The kernel seam of the task plane, against the kernel: peeking and whole frames on a task socket,
// the link with its descriptors, the board.
#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <set>
#include <string>
#include <vector>

#include "daemon/broker/worker_socket.h"
#include "daemon/sys/broker_link.h"
#include "daemon/sys/task_board.h"
#include "daemon/sys/task_socket.h"

using namespace mtd;

namespace {

void write_all(const UniqueFd& fd, std::string_view text) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
}

std::string peek_all(const UniqueFd& fd) {
  std::array<char, 4096> bytes{};
  const auto peeked = sys::peek(fd.get(), bytes.data(), bytes.size());
  return {bytes.data(), peeked.bytes};
}

// A worker's socket in a loop of its own, and what was seen on it.
struct Conversation {
  Conversation() {
    auto ends = sys::make_task_socket();
    REQUIRE(ends);
    worker = std::move(ends->second);
    broker::WorkerSocket::Handlers handlers;
    handlers.frame =
        [this](std::string_view line,
               std::optional<std::string_view> body) -> Result<std::optional<broker::AnswerOf>> {
      if (line == "wrong") return Error{"wrong"};
      lines.emplace_back(std::string(line) + std::string(body.value_or("")));
      if (!line.starts_with("{\"id\"")) return std::optional<broker::AnswerOf>();
      return std::optional(broker::AnswerOf{{static_cast<std::uint64_t>(lines.size())}, 1});
    };
    handlers.fault = [this](const Error& why) { fault = why.message; };
    handlers.closed = [this] { closed = true; };
    held = UniqueFd(::dup(ends->first.get()));
    socket = std::make_unique<broker::WorkerSocket>(loop, std::move(ends->first), scratch,
                                                    std::move(handlers));
    REQUIRE(socket->start());
  }
  void turn() {
    while (true) {
      const auto turned = loop.turn(Duration());
      REQUIRE(turned);
      if (!*turned) return;
    }
  }

  sys::EventLoop loop = *sys::EventLoop::create();
  std::vector<char> scratch = std::vector<char>(1 << 19);
  UniqueFd worker, held;
  std::unique_ptr<broker::WorkerSocket> socket;
  std::vector<std::string> lines;
  std::string fault;
  bool closed = false;
};

}  // namespace

TEST_CASE("an answer stays in the socket until it is settled") {
  Conversation talk;
  write_all(talk.worker, "{\"a\":1}\n{\"id\":2}\n{\"b\":3}\n{\"id\":4}\n");
  talk.turn();
  CHECK(talk.lines.size() == 4);
  CHECK(peek_all(talk.held) == "{\"id\":2}\n{\"b\":3}\n{\"id\":4}\n");
  talk.socket->settle({{4}, 1});  // behind one that is not settled
  talk.socket->flush();
  CHECK(peek_all(talk.held) == "{\"id\":2}\n{\"b\":3}\n{\"id\":4}\n");
  talk.socket->settle({{2}, 1});
  talk.socket->flush();
  CHECK(peek_all(talk.held).empty());
  talk.turn();
  CHECK(talk.lines.size() == 4);  // each is seen once
}

TEST_CASE("what one turn sends goes out together, in its order, however large") {
  Conversation talk;
  std::string all;
  for (const std::size_t size : {3U, 2500U, 4U, 5U, 700U, 100U, 6U}) {
    all += std::string(size, 'x') + "\n";
    talk.socket->send(std::string(size, 'x') + "\n");
  }
  CHECK(peek_all(talk.worker).empty());
  talk.socket->flush();
  CHECK(peek_all(talk.worker) == all);
}

TEST_CASE("frames that come byte by byte are seen once, and whole") {
  Conversation talk;
  for (const char byte : std::string("{\"body\":3}\nxyz{\"id\":1}\n")) {
    write_all(talk.worker, std::string(1, byte));
    talk.turn();
  }
  CHECK(talk.lines == std::vector<std::string>{"{\"body\":3}xyz", "{\"id\":1}"});
}

TEST_CASE("nonsense ends the conversation, the end of the stream is told after what came before") {
  Conversation wrong;
  write_all(wrong.worker, "wrong\n{\"a\":1}\n");
  wrong.turn();
  CHECK(wrong.fault == "wrong");
  CHECK(wrong.lines.empty());

  Conversation over;
  write_all(over.worker, std::string(70'000, 'x'));
  over.turn();
  CHECK(over.fault.find("65536") != std::string::npos);

  Conversation gone;
  write_all(gone.worker, "{\"a\":1}\n{\"half");
  gone.worker.reset();
  gone.turn();
  CHECK(gone.lines == std::vector<std::string>{"{\"a\":1}"});
  gone.turn();
  CHECK(gone.fault.empty());
}

TEST_CASE("the end of the stream is told although an answer waits to be settled") {
  Conversation talk;
  write_all(talk.worker, "{\"id\":1}\n");
  talk.turn();
  CHECK_FALSE(talk.closed);
  talk.worker.reset();
  talk.turn();
  CHECK(talk.closed);
  CHECK(peek_all(talk.held) == "{\"id\":1}\n");  // its answer is not lost by it
  talk.socket->settle({{1}, 1});
  talk.socket->flush();
  CHECK(peek_all(talk.held).empty());
}

TEST_CASE("a frame is written whole, or when there is room") {
  auto ends = sys::make_task_socket();
  REQUIRE(ends);
  const std::string frame(60'000, 'f');
  std::size_t written = 0;
  while (sys::write_whole(ends->first.get(), frame) == sys::Written::done)
    ++written;
  CHECK(written >= 2);
  std::vector<char> bytes(1 << 20);
  std::size_t read = 0;
  while (true) {
    const ssize_t got = ::recv(ends->second.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) break;
    read += static_cast<std::size_t>(got);
  }
  CHECK(read == written * frame.size());
  CHECK(sys::write_whole(ends->first.get(), frame) == sys::Written::done);
  ends->second.reset();
  CHECK(sys::write_whole(ends->first.get(), frame) == sys::Written::gone);
}

TEST_CASE("the link carries messages and a descriptor, and refuses what is not whole") {
  auto ends = sys::make_link();
  REQUIRE(ends);
  sys::BrokerLink supervisor(std::move(ends->first)), link(std::move(ends->second));
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const UniqueFd out(pipe[0]), in(pipe[1]);
  broker::Attach attach;
  attach.worker = {3, 4, 5};
  attach.task_limit = 9;
  supervisor.send(attach, in.get());
  auto received = link.receive();
  REQUIRE(received);
  REQUIRE(received->has_value());
  auto message = sys::decode_to_broker((*received)->first, std::move((*received)->second));
  REQUIRE(message);
  const auto& attached = std::get<sys::AttachedSocket>(*message);
  CHECK(attached.message.worker == broker::WorkerRef{3, 4, 5});
  CHECK(::write(attached.fd.get(), "x", 1) == 1);
  supervisor.send(broker::Listen{}, in.get());
  auto second = link.receive();
  REQUIRE(second);
  REQUIRE(second->has_value());
  auto listen = sys::decode_to_broker((*second)->first, std::move((*second)->second));
  REQUIRE(listen);
  CHECK(::write(std::get<sys::NewListener>(*listen).fd.get(), "x", 1) == 1);
  CHECK_FALSE(sys::decode_to_broker("short", UniqueFd()));
  broker::Ready ready;
  ready.header.type = broker::Type::ready;
  ready.header.size = sizeof ready;
  std::string bytes(reinterpret_cast<const char*>(&ready), sizeof ready);
  CHECK(sys::decode_to_supervisor(bytes));
  CHECK_FALSE(sys::decode_to_broker(bytes, UniqueFd()));
  bytes.pop_back();
  CHECK_FALSE(sys::decode_to_supervisor(bytes));
  link.close();
  const auto over = supervisor.receive();
  CHECK_FALSE(over);
}

TEST_CASE("an end that never reads is given up, not waited for") {
  auto ends = sys::make_link();
  REQUIRE(ends);
  sys::BrokerLink supervisor(std::move(ends->first));
  for (std::size_t i = 0; i < sys::kMaxLinkOutbox + 2000; ++i)
    supervisor.send(broker::Synced{});
  const auto flushed = supervisor.flush();
  REQUIRE_FALSE(flushed);
  CHECK(flushed.error().errno_value == ETIMEDOUT);
}

TEST_CASE("the board is seen by both, and outlives either") {
  auto board = sys::TaskBoard::create();
  REQUIRE(board);
  const broker::WorkerRef worker{1, 2, 3};
  sys::BoardWorker* place = board->worker(worker);
  REQUIRE(place != nullptr);
  place->given = 7;
  CHECK(board->worker(worker) == place);
  board->queue(1)->waiting = 5;
  auto other = sys::TaskBoard::open(UniqueFd(::dup(board->fd())));
  REQUIRE(other);
  CHECK(other->look(worker)->given == 7);
  CHECK(other->look(1)->waiting == 5);
  CHECK_FALSE(other->look(2));
  board->clear(worker);
  CHECK_FALSE(other->look(worker));
  CHECK(::ftruncate(board->fd(), 10) != 0);
  CHECK_FALSE(sys::TaskBoard::open(UniqueFd(::dup(0))));
}

TEST_CASE("the board has room for two workers of each slot there can be, and an end") {
  auto board = sys::TaskBoard::create();
  REQUIRE(board);
  constexpr std::uint32_t kPools = 16, kSlots = 1000;
  const auto each = [&](const auto& what) {
    for (std::uint32_t pool = 1; pool <= kPools; ++pool) {
      for (std::uint32_t slot = 0; slot < kSlots; ++slot)
        what(broker::WorkerRef{pool, slot, 1}, broker::WorkerRef{pool, slot, 2});
    }
  };
  bool found = true;
  each([&](const auto& first, const auto& second) {
    sys::BoardWorker* const places[] = {board->worker(first), board->worker(second)};
    REQUIRE(places[0] != nullptr);
    REQUIRE(places[1] != nullptr);
    places[1]->given = first.pool * kSlots + first.slot;
  });
  each([&](const auto& first, const auto&) { board->clear(first); });
  each([&](const auto& first, const auto& second) {
    const auto seen = board->look(second);
    found = found && seen && seen->given == first.pool * kSlots + first.slot && !board->look(first);
  });
  CHECK(found);
  std::uint64_t incarnation = 3;
  while (incarnation < sys::kBoardWorkers && board->worker({1, 1, incarnation}) != nullptr)
    ++incarnation;
  CHECK(incarnation < sys::kBoardWorkers);
  board->clear({2, 1, 2});
  CHECK(board->worker({2, 1, 3}) != nullptr);  // others have their place still
}

TEST_CASE("whoever looks finds a worker while its neighbour's place is given and taken again") {
  auto board = sys::TaskBoard::create();
  REQUIRE(board);
  const broker::WorkerRef first{1, 5, 1}, behind{1, 5, 2};
  REQUIRE(board->worker(first) != nullptr);
  REQUIRE(board->worker(behind) != nullptr);
  const pid_t writer = ::fork();
  REQUIRE(writer >= 0);
  if (writer == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (std::uint64_t incarnation = 3;; ++incarnation) {
      board->clear({1, 5, incarnation == 3 ? 1 : incarnation - 1});
      (void)board->worker({1, 5, incarnation});
    }
  }
  int missed = 0;
  for (int i = 0; i < 2'000'000; ++i)
    missed += board->look(behind) ? 0 : 1;
  REQUIRE(::kill(writer, SIGKILL) == 0);
  REQUIRE(::waitpid(writer, nullptr, 0) == writer);
  CHECK(missed == 0);
  CHECK(board->look(behind));
}

TEST_CASE("places of pools that are gone are given again") {
  auto board = sys::TaskBoard::create();
  REQUIRE(board);
  std::set<std::uint32_t> kept;
  for (std::uint32_t pool = 1; pool <= sys::kBoardQueues; ++pool) {
    REQUIRE(board->has_place(pool));
    board->queue(pool)->waiting = pool;
    if (pool % 100 == 0) kept.insert(pool);
  }
  CHECK_FALSE(board->has_place(5000));
  CHECK(board->has_place(100));
  board->keep_queues(kept);
  for (const std::uint32_t pool : kept)
    CHECK(board->look(pool)->waiting == pool);
  CHECK_FALSE(board->look(1));
  CHECK(board->has_place(5000));
  CHECK(board->queue(5000)->waiting == 0);
}
