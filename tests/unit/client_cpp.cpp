// libmtd: the worker's side over a socket pair, the client's side against a scripted broker, and
// what the adapter makes of commands and exit codes.
#include <doctest/doctest.h>
#include <mtd/client.h>
#include <mtd/worker.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "client/adapter/modes.h"
#include "common/task_frames.h"
#include "common/unique_fd.h"

using namespace mtd;

namespace {

// mtd's end of a conversation; blocking.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}

  void send(const std::string& bytes) const {
    REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  void line(const std::string& text) const { send(text + "\n"); }

  // The next line; its body goes to `body`. Empty: the other side has gone.
  std::string receive() {
    for (;;) {
      const auto found = task_frames::first_frame(buffer_, 1u << 24);
      REQUIRE(found);
      if (*found) {
        std::string text((*found)->line);
        body = (*found)->body ? std::string(*(*found)->body) : std::string();
        buffer_.erase(0, (*found)->size);
        return text;
      }
      if (!fill()) return {};
    }
  }
  // The next text that ends with a NUL.
  std::string call() {
    while (buffer_.find('\0') == std::string::npos) {
      if (!fill()) return {};
    }
    std::string text = buffer_.substr(0, buffer_.find('\0'));
    buffer_.erase(0, text.size() + 1);
    return text;
  }
  void close() { fd_.reset(); }

  std::string body;

 private:
  bool fill() {
    char block[65536];
    const ssize_t got = ::recv(fd_.get(), block, sizeof block, 0);
    if (got > 0) buffer_.append(block, static_cast<std::size_t>(got));
    return got > 0;
  }
  UniqueFd fd_;
  std::string buffer_;
};

struct Pair {
  Peer mtd;
  Worker worker;
};

Pair make_pair_of() {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
  return {Peer(fds[0]), Worker::adopt(fds[1])};
}

}  // namespace

TEST_CASE("a worker answers each task once, and ends after drain") {
  Pair pair = make_pair_of();
  pair.mtd.line(
      R"({"t":"task","id":1,"attempt":1,"name":"echo","args":["a",2,{"x":null}],"new":1})");
  pair.mtd.line(R"({"t":"task","id":1,"attempt":1,"args":[],"again":true})");
  pair.mtd.line(R"({"t":"unknown"})");
  pair.mtd.line(R"({"t":"task","id":2,"attempt":3,"args":[]})");
  pair.mtd.line(R"({"t":"task","id":3,"attempt":1,"args":[]})");
  pair.mtd.line(R"({"t":"task","id":4,"attempt":1,"args":[],"timeout_ms":50})");
  pair.mtd.line(R"({"t":"ping"})");
  pair.mtd.line(R"({"t":"drain"})");
  const Result<void> end = pair.worker.run([](Task& task) -> Answer {
    if (task.id() == 1) {
      CHECK(task.name() == "echo");
      CHECK(task.words() == std::vector<std::string>{"a", "2", R"({"x":null})"});
      task.progress(1, 2, "half");
      return Done::json(task.arguments());
    }
    if (task.id() == 2) throw std::runtime_error("thrown");
    if (task.id() == 3) return Done::bytes(std::string(200000, 'x'));
    CHECK(task.timeout_ms() == 50);
    return Done::json("\"" + std::string(70000, 'y') + "\"");
  });
  CHECK(end);
  CHECK(pair.mtd.receive().starts_with(R"({"t":"ready","proto":1,"credit":1,)"));
  CHECK(pair.mtd.receive() == R"({"t":"beat"})");
  CHECK(pair.mtd.receive().starts_with(R"({"t":"progress","id":1,)"));
  CHECK(pair.mtd.receive() == R"({"t":"done","id":1,"attempt":1,"result":["a",2,{"x":null}]})");
  CHECK(
      pair.mtd.receive() ==
      R"({"t":"fail","id":2,"attempt":3,"error":{"message":"thrown","type":"exception"},"retry":true})");
  std::string whole;
  for (int part = 0; part < 4; ++part) {
    CHECK(pair.mtd.receive().starts_with(R"({"t":"part","id":3,"attempt":1,"part":)"));
    whole += pair.mtd.body;
  }
  CHECK(whole == std::string(200000, 'x'));
  CHECK(pair.mtd.receive() == R"({"t":"done","id":3,"attempt":1,"parts":4})");
  CHECK(pair.mtd.receive().find(R"("type":"TooLong")") != std::string::npos);
}

TEST_CASE("a body in parts is put together, a missing part is told") {
  Pair pair = make_pair_of();
  pair.mtd.send(task_frames::frame(R"({"t":"part","id":5,"attempt":1,"part":0,"of":2})", "ab"));
  pair.mtd.send(task_frames::frame(R"({"t":"part","id":5,"attempt":1,"part":1,"of":2})", "cd"));
  pair.mtd.line(R"({"t":"task","id":5,"attempt":1,"args":[],"parts":2})");
  const auto task = pair.worker.next();
  REQUIRE(task);
  REQUIRE(*task);
  CHECK((*task)->body() == "abcd");
  pair.mtd.line(R"({"t":"task","id":6,"attempt":1,"args":[],"parts":2})");
  CHECK_FALSE(pair.worker.next());
}

TEST_CASE("a cancelled task is told once, and how long it has") {
  Pair pair = make_pair_of();
  pair.mtd.line(R"({"t":"task","id":5,"attempt":1,"args":[]})");
  auto task = pair.worker.next();
  REQUIRE(task);
  REQUIRE(*task);
  CHECK((*task)->cancelled().empty());
  pair.mtd.line(R"({"t":"cancel","id":5,"reason":"timeout","grace_ms":700})");
  pair.mtd.line(R"({"t":"cancel","id":99,"reason":"user","grace_ms":700})");
  CHECK((*task)->cancelled() == "timeout");
  const auto cancelled = pair.worker.next_cancelled();
  REQUIRE(cancelled);
  CHECK(cancelled->id == 5);
  CHECK(cancelled->grace_ms == 700);
  CHECK_FALSE(pair.worker.next_cancelled());
}

TEST_CASE("what makes no sense ends a worker with an error, mtd's end without one") {
  for (const char* line : {"x", "[]", R"({"t":"task","args":[]})", R"({"body":-1})"}) {
    Pair pair = make_pair_of();
    pair.mtd.line(line);
    CHECK_MESSAGE(!pair.worker.run([](Task&) -> Answer { return Done{}; }), line);
  }
  Pair pair = make_pair_of();
  pair.mtd.close();
  CHECK(pair.worker.run([](Task&) -> Answer { return Done{}; }));
  ::unsetenv("MTD_TASK_FD");
  CHECK_FALSE(Worker::from_environment());
  ::setenv("MTD_TASK_FD", "0x", 1);
  CHECK_FALSE(Worker::from_environment());
}

namespace {

// A broker that plays what a test tells it, in a thread.
class Broker {
 public:
  template <class Script>
  explicit Broker(Script script) {
    char directory[] = "/tmp/mtd-cpp-XXXXXX";
    REQUIRE(::mkdtemp(directory) != nullptr);
    directory_ = directory;
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_.get(), 4) == 0);
    thread_ = std::thread([this, script] { script(*this); });
  }
  ~Broker() {
    thread_.join();
    ::unlink(path().c_str());
    ::rmdir(directory_.c_str());
  }
  [[nodiscard]] std::string path() const { return directory_ + "/io.mtd.Tasks"; }

  // The next client, after Open.
  Peer accept() {
    Peer peer(::accept(listener_.get(), nullptr, nullptr));
    CHECK(peer.call().find("io.mtd.Tasks.Open") != std::string::npos);
    peer.send(std::string(R"({"parameters":{"proto":1,"max_body":1000}})") + '\0');
    return peer;
  }

 private:
  std::string directory_;
  UniqueFd listener_;
  std::thread thread_;
};

Client connect(const Broker& broker, std::int64_t patience_ms = 20000) {
  ClientOptions options;
  options.paths = {broker.path()};
  options.patience_ms = patience_ms;
  Result<Client> client = Client::connect(std::move(options));
  REQUIRE(client);
  return *std::move(client);
}

Put put_of(std::string pool, std::vector<std::string> words = {}) {
  Put put;
  put.pool = std::move(pool);
  put.words = std::move(words);
  return put;
}

}  // namespace

TEST_CASE("futures: done, refused, failed, cancelled") {
  Broker broker([](Broker& self) {
    Peer peer = self.accept();
    CHECK(peer.receive().starts_with(R"({"t":"put","seq":1,"uid":)"));
    CHECK(peer.receive().find(R"("args":["a"])") != std::string::npos);
    peer.line(R"({"t":"ok","seq":1,"id":11})");
    peer.line(R"({"t":"no","seq":2,"error":"QueueFull","message":"full"})");
    peer.line(R"({"t":"end","seq":1,"id":11,"state":"done","result":{"x":1},"attempts":2})");
    CHECK(peer.receive() == R"({"t":"forget","id":11})");
    CHECK(peer.receive().starts_with(R"({"t":"put","seq":3,)"));
    peer.line(R"({"t":"ok","seq":3,"id":12})");
    CHECK(peer.receive().find(R"("t":"cancel")") != std::string::npos);
    peer.line(R"({"t":"end","seq":3,"id":12,"state":"cancelled","reason":"user"})");
    peer.receive();
  });
  Client client = connect(broker);
  int told = 0;
  Future first = client.submit(put_of("p"), [&told](const End& end) { told += end.is_done(); });
  Future second = client.submit(put_of("p", {"a"}));
  const Result<End> done = first.get();
  REQUIRE(done);
  CHECK(done->result == R"({"x":1})");
  CHECK(done->attempts == 2);
  CHECK(told == 1);
  const Result<End> refused = second.get();
  REQUIRE(refused);
  CHECK(refused->is_refused());
  CHECK(refused->reason == "QueueFull");
  Future third = client.submit(put_of("p"));
  third.cancel();  // before it has a number
  CHECK(third.get()->state == "cancelled");
  CHECK(client.unfinished() == 0);
  Put large = put_of("p");
  large.body = std::string(1001, 'x');
  CHECK(client.submit(std::move(large)).get()->reason == "TooBig");
}

TEST_CASE("a signal ends a turn that has no end, and what is forgotten goes with the next put") {
  std::atomic<bool> turned = false;
  Broker broker([](Broker& self) {
    Peer peer = self.accept();
    CHECK(peer.receive().find(R"("seq":1)") != std::string::npos);
    peer.line(R"({"t":"ok","seq":1,"id":11})");
    peer.line(R"({"t":"end","seq":1,"id":11,"state":"done","attempts":1})");
    CHECK(peer.receive() == R"({"t":"forget","id":11})");
    CHECK(peer.receive().find(R"("seq":2)") != std::string::npos);
    peer.receive();  // the end
  });
  Client client = connect(broker);
  REQUIRE(client.submit(put_of("p")).get());
  struct sigaction interrupts {
  }, before{};
  interrupts.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGUSR1, &interrupts, &before) == 0);
  client.submit(put_of("p"));
  // Until the turn has heard one: it may not wait yet when the first ones come.
  std::thread sender([&turned, to = ::pthread_self()] {
    while (!turned) {
      ::pthread_kill(to, SIGUSR1);
      std::this_thread::yield();
    }
  });
  std::vector<pollfd> none;
  CHECK(client.turn(none, -1));
  turned = true;
  sender.join();
  REQUIRE(::sigaction(SIGUSR1, &before, nullptr) == 0);
  CHECK(client.unfinished() == 1);
}

TEST_CASE("a broker that dies: what has no end is put again under its name, in its order") {
  Broker broker([](Broker& self) {
    std::string names[2];
    {
      Peer peer = self.accept();
      for (std::string& name : names)
        name = peer.receive().substr(18);
      peer.line(R"({"t":"ok","seq":1,"id":1})");
    }
    Peer peer = self.accept();
    for (int number = 0; number < 2; ++number) {
      const std::string put = peer.receive();
      CHECK(put.substr(18) == names[number]);
      const std::string seq = std::to_string(number + 3);
      peer.line(R"({"t":"end","seq":)" + seq + R"(,"id":5,"state":"done","result":)" + seq + "}");
    }
    peer.receive();
    peer.receive();
  });
  Client client = connect(broker);
  Future first = client.submit(put_of("p"));
  Future second = client.submit(put_of("p"));
  CHECK(first.get()->result == "3");
  CHECK(second.get()->result == "4");
}

TEST_CASE("a broker that stays away, or talks nonsense, is told to every future") {
  {
    Broker broker([](Broker& self) { self.accept(); });
    Client client = connect(broker, 50);
    Future future = client.submit(put_of("p"));
    ::unlink(broker.path().c_str());
    CHECK_FALSE(future.get());
    CHECK(future.is_ready());
    CHECK_FALSE(client.submit(put_of("p")).get());
  }
  {
    Broker broker([](Broker& self) {
      Peer peer = self.accept();
      peer.receive();
      peer.line("nonsense");
      peer.receive();
    });
    Client client = connect(broker);
    CHECK_FALSE(client.submit(put_of("p")).get());
  }
  Broker broker([](Broker& self) {
    Peer peer = self.accept();
    while (!peer.receive().empty()) {
    }
  });
  Client client = connect(broker);
  Future future = client.submit(put_of("p"));
  const Result<End> late = future.get(10);
  REQUIRE_FALSE(late);
  CHECK(late.error().errno_value == ETIMEDOUT);
  CHECK_FALSE(client.wait_all(10));
}

TEST_CASE(
    "a broker that says nothing any more is given up, also while a future waits without end") {
  std::atomic<bool> over = false;
  Broker broker([&over](Broker& self) {
    const Peer peer = self.accept();
    over.wait(false);  // who asks whether it is still there gets no answer
  });
  Client client = connect(broker, 100);
  Future future = client.submit(put_of("p"));
  const Result<End> end = future.get();
  REQUIRE_FALSE(end);
  CHECK(end.error().errno_value == ETIMEDOUT);
  CHECK(end.error().message == "mtd is there, but has not answered for 100ms");
  ClientOptions options;
  options.paths = {broker.path()};
  options.patience_ms = 50;
  const Result<Client> another = Client::connect(std::move(options));
  CHECK(another.error().errno_value == ETIMEDOUT);
  over = true;
  over.notify_all();
}

TEST_CASE("no mtd: every path is named with its reason") {
  ClientOptions options;
  options.paths = {"/nowhere/a", "/nowhere/" + std::string(200, 'b')};
  const Result<Client> client = Client::connect(std::move(options));
  REQUIRE_FALSE(client);
  CHECK(client.error().message.find("/nowhere/a: No such file") != std::string::npos);
  CHECK(client.error().message.find("longer than a socket's path") != std::string::npos);
}

TEST_CASE("arguments of a command") {
  using adapter::command_for;
  using Words = std::vector<std::string>;
  CHECK(command_for({"cp"}, {"a", "b"}) == Words{"cp", "a", "b"});
  CHECK(command_for({"cp", "%{arg}", "out"}, {"a", "b"}) == Words{"cp", "a", "b", "out"});
  CHECK(command_for({"x", "in=%{arg}", "%{arg}.out"}, {"a", "b"}) ==
        Words{"x", "in=a b", "a b.out"});
  CHECK(command_for({"x", "%{arg}/%{arg}"}, {"%{arg}"}) == Words{"x", "%{arg}/%{arg}"});
  CHECK(command_for({"x", "%{arg}"}, {}) == Words{"x"});
  CHECK(adapter::verdict_of(0) == adapter::Verdict::done);
  CHECK(adapter::verdict_of(75) == adapter::Verdict::retry);
  CHECK(adapter::verdict_of(1) == adapter::Verdict::retry);
  for (const int code : {64, 65, 66, 77, 78})
    CHECK(adapter::verdict_of(code) == adapter::Verdict::no_retry);
}
