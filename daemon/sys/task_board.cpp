#include "daemon/sys/task_board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "daemon/sys/memfd.h"

namespace mtd::sys {
namespace {

// A table of hashes with places that are looked at one after the other. Workers of one slot begin
// at the same place, so a slot's next worker takes that of the one before; neighbours stand
// together, so that few workers touch few pages.
constexpr std::uint32_t kTogether = 64;
// Whatever the broker writes, nobody looks further.
constexpr std::uint32_t kMostLooks = 4096;

std::uint32_t place_of(const broker::WorkerRef& worker) {
  const std::uint64_t many =
      (std::uint64_t{worker.pool} << 32U | worker.slot / kTogether) * 0x9E3779B97F4A7C15ULL;
  return static_cast<std::uint32_t>(many >> 32U) / kTogether * kTogether + worker.slot % kTogether;
}

Result<BoardContent*> map(int memory) {
  void* const at =
      ::mmap(nullptr, sizeof(BoardContent), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (at == MAP_FAILED) return Error::from_errno("map the task board", errno);
  return static_cast<BoardContent*>(at);
}

}  // namespace

TaskBoard::TaskBoard(TaskBoard&& other) noexcept
    : memory_(std::move(other.memory_)), content_(std::exchange(other.content_, nullptr)) {}

TaskBoard& TaskBoard::operator=(TaskBoard&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(content_, other.content_);
  return *this;
}

TaskBoard::~TaskBoard() {
  if (content_ != nullptr) ::munmap(content_, sizeof(BoardContent));
}

Result<TaskBoard> TaskBoard::create() {
  auto memory = make_memfd("mtd-task-board");
  if (!memory) return memory.error();
  if (::ftruncate(memory->get(), sizeof(BoardContent)) != 0)
    return Error::from_errno("make the task board", errno);
  // Nobody who writes it may shorten it under the other's feet.
  if (::fcntl(memory->get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return Error::from_errno("seal the size of the task board", errno);
  auto content = map(memory->get());
  if (!content) return content.error();
  (*content)->magic = kBoardMagic;
  return TaskBoard(std::move(*memory), *content);
}

Result<TaskBoard> TaskBoard::open(UniqueFd memory) {
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);
  if (size_of(memory.get()) != sizeof(BoardContent) || seals < 0 || (seals & F_SEAL_SHRINK) == 0)
    return Error{"this is no task board"};
  auto content = map(memory.get());
  if (!content) return content.error();
  TaskBoard board(std::move(memory), *content);
  if ((*content)->magic != kBoardMagic) return Error{"this is no task board of this version"};
  return board;
}

TaskBoard::Places TaskBoard::find(const broker::WorkerRef& worker) const {
  Places places;
  std::uint32_t at = place_of(worker);
  for (std::uint32_t looks = 0; looks < kMostLooks; ++looks, ++at) {
    BoardWorker& place = content_->workers[at % kBoardWorkers];
    if (place.worker == worker) {
      places.own = &place;
      return places;
    }
    if (place.worker.incarnation == 0 && places.free == nullptr) places.free = &place;
    if (place.used == 0) break;
  }
  return places;
}

BoardWorker* TaskBoard::worker(const broker::WorkerRef& worker) {
  const Places places = find(worker);
  if (places.own != nullptr || places.free == nullptr) return places.own;
  set(*places.free, worker);
  return places.free;
}

// Never unused in between: whoever looks for a worker behind it, this very moment or after the
// death of the broker, would stop here.
void TaskBoard::set(BoardWorker& place, const broker::WorkerRef& worker) {
  place.used = 1;
  place.given = place.answered = place.current = 0;
  place.running = place.credit = place.capabilities = 0;
  place.worker = worker;
}

BoardQueue* TaskBoard::queue(std::uint32_t pool) {
  BoardQueue* free = nullptr;
  for (BoardQueue& place : content_->queues) {
    if (place.pool == pool) return &place;
    if (place.pool == 0 && free == nullptr) free = &place;
  }
  if (free != nullptr) {
    *free = BoardQueue{};
    free->pool = pool;
  }
  return free;
}

std::optional<BoardWorker> TaskBoard::look(const broker::WorkerRef& worker) const {
  if (content_ == nullptr) return std::nullopt;
  const BoardWorker* known = find(worker).own;
  return known == nullptr ? std::nullopt : std::optional(*known);
}

std::optional<BoardQueue> TaskBoard::look(std::uint32_t pool) const {
  if (content_ == nullptr) return std::nullopt;
  for (const BoardQueue& place : content_->queues) {
    if (place.pool == pool) return place;
  }
  return std::nullopt;
}

void TaskBoard::clear(const broker::WorkerRef& worker) {
  if (BoardWorker* known = find(worker).own) set(*known, {});
}

bool TaskBoard::has_place(std::uint32_t pool) const {
  return std::any_of(
      std::begin(content_->queues), std::end(content_->queues),
      [pool](const BoardQueue& place) { return place.pool == 0 || place.pool == pool; });
}

void TaskBoard::keep_queues(const std::set<std::uint32_t>& pools) {
  for (BoardQueue& place : content_->queues) {
    if (pools.count(place.pool) == 0) place = BoardQueue{};
  }
}

void TaskBoard::clear(std::uint32_t pool) {
  for (BoardQueue& place : content_->queues) {
    if (place.pool == pool) place = BoardQueue{};
  }
}

}  // namespace mtd::sys
