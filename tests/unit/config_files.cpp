// Files: what is read, in what order, and what is refused without being held up.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/unique_fd.h"
#include "tests/unit/config_support.h"

using mtd::test::ConfigTree;
using mtd::test::joined;

namespace {

constexpr const char* kPool = "{\"pools\":{\"web\":{\"command\":\"/bin/true\"}}}";

std::string pool(const std::string& name, const std::string& members = "") {
  return "{\"pools\":{\"" + name + "\":{\"command\":\"/bin/true\"" + members + "}}}";
}

}  // namespace

TEST_CASE("what is not a regular file is refused at once") {
  const ConfigTree tree;
  const std::string file = tree.path("mtd.json");
  SUBCASE("a FIFO that nobody writes to") {
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    CHECK(joined(tree.errors()) == "mtd.json: is a FIFO; it must be a regular file\n");
  }
  SUBCASE("a directory") {
    REQUIRE(::mkdir(file.c_str(), 0755) == 0);
    CHECK(joined(tree.errors()) == "mtd.json: is a directory; it must be a regular file\n");
  }
  SUBCASE("a device") {
    REQUIRE(::symlink("/dev/zero", file.c_str()) == 0);
    CHECK(joined(tree.errors()) == "mtd.json: is a device; it must be a regular file\n");
  }
  SUBCASE("a socket") {
    const mtd::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    file.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    CHECK(joined(tree.errors()) ==
          "mtd.json: is a socket or a device; it must be a regular file\n");
  }
  SUBCASE("1 GB without blocks") {
    tree.write("mtd.json", "{}");
    REQUIRE(::truncate(file.c_str(), 1'000'000'000) == 0);
    CHECK(joined(tree.errors()) == "mtd.json: has 1000000000 bytes; at most 1 MiB is read\n");
  }
  SUBCASE("symbolic links in a circle") {
    REQUIRE(::symlink("mtd.json", file.c_str()) == 0);
    CHECK(joined(tree.errors()) ==
          "mtd.json: cannot be read: its symbolic links lead in a circle\n");
  }
  SUBCASE("a link that leads nowhere") {
    REQUIRE(::symlink("nowhere", file.c_str()) == 0);
    CHECK(joined(tree.errors()) == "mtd.json: cannot be read: No such file or directory\n");
  }
  SUBCASE("nothing") {
    const auto loaded = tree.load();
    REQUIRE(loaded.errors.size() == 1);
    CHECK(loaded.errors.front().text() ==
          tree.path() + ": holds neither mtd.json nor pools.d/*.json");
    CHECK(joined(tree.errors("x.json")) == "x.json: cannot be read: No such file or directory\n");
  }
}

TEST_CASE("a file of exactly 1 MiB is read, one byte more is not") {
  const ConfigTree tree;
  const std::string text = kPool;
  tree.write("mtd.json", text + std::string(1024 * 1024 - text.size(), ' '));
  CHECK(tree.errors().empty());
  tree.write("mtd.json", text + std::string(1024 * 1024 - text.size() + 1, ' '));
  CHECK(joined(tree.errors()) == "mtd.json: has 1048577 bytes; at most 1 MiB is read\n");
}

TEST_CASE("what others may change is refused") {
  const ConfigTree tree;
  const std::string file = tree.write("mtd.json", kPool);
  CHECK(tree.errors().empty());
  for (const mode_t mode : {0664U, 0646U, 0666U}) {
    REQUIRE(::chmod(file.c_str(), mode) == 0);
    REQUIRE(tree.errors().size() == 1);
    CHECK(tree.errors().front().find("may be changed by others (mode 06") != std::string::npos);
    CHECK(tree.errors().front().ends_with("); run chmod go-w on it"));
    CHECK(mtd::config::load({file, false}).errors.empty());
  }
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  REQUIRE(::chmod(tree.path().c_str(), 0777) == 0);
  CHECK(joined(tree.errors()) ==
        "mtd.json: its directory " + tree.path() +
            " may be changed by others (mode 0777); run chmod go-w on it\n");
  REQUIRE(::chmod(tree.path().c_str(), 01777) == 0);
  CHECK(tree.errors().empty());
}

TEST_CASE("the directory behind a link is judged as well") {
  const ConfigTree tree;
  tree.write("open/real.json", kPool);
  REQUIRE(::symlink("open/real.json", tree.path("mtd.json").c_str()) == 0);
  CHECK(tree.errors().empty());
  REQUIRE(::chmod(tree.path("open").c_str(), 0777) == 0);
  CHECK(joined(tree.errors()).starts_with("mtd.json: its directory "));
}

TEST_CASE("files of strangers are refused" * doctest::skip(::geteuid() != 0)) {
  const ConfigTree tree;
  const std::string file = tree.write("mtd.json", kPool);
  REQUIRE(::chown(file.c_str(), 65534, 65534) == 0);
  CHECK(joined(tree.errors()) == "mtd.json: belongs to uid 65534; it must belong to root\n");
  REQUIRE(::chown(file.c_str(), 0, 0) == 0);
  REQUIRE(::chown(tree.path().c_str(), 65534, 65534) == 0);
  CHECK(joined(tree.errors()) == "mtd.json: its directory " + tree.path() +
                                     " belongs to uid 65534; it must belong to root\n");
}

TEST_CASE("mtd.json, then pools.d sorted, then drop-ins sorted; others are left alone") {
  const ConfigTree tree;
  tree.write("mtd.json", pool("main"));
  tree.write("pools.d/b.json",
             pool("b", ",\"workers\":2,\"env\":{\"A\":\"1\",\"B\":\"2\"},\"success_codes\":[0,1]"));
  tree.write("pools.d/a.json", pool("a"));
  tree.write("pools.d/b.json.d/20.json",
             "{\"pools\":{\"b\":{\"workers\":9,\"env\":{\"B\":null}}}}");
  tree.write("pools.d/b.json.d/10.json",
             "{\"pools\":{\"b\":{\"workers\":7,\"success_codes\":[3],\"stop\":{\"timeout\":1}}}}");
  for (const char* name : {".hidden.json", "c.json~", "c.json.bak", "4913", "README"}) {
    tree.write(std::string("pools.d/") + name, "no json");
  }
  const auto loaded = tree.load();
  REQUIRE(loaded.errors.empty());
  const auto& pools = loaded.configuration.pools;
  REQUIRE(pools.size() == 3);
  CHECK(pools[0].name == "a");
  CHECK(pools[1].name == "b");
  CHECK(pools[2].name == "main");
  CHECK(pools[1].workers == 9);
  CHECK(pools[1].success_codes == std::vector<int>{3});
  CHECK(pools[1].stop.timeout == mtd::Duration::seconds(1));
  const std::string environment = joined(pools[1].environment);
  CHECK(environment.find("A=1\n") != std::string::npos);
  CHECK(environment.find("B=2\n") == std::string::npos);
  CHECK(tree.without_path(joined(loaded.configuration.files)) ==
        "mtd.json\npools.d/a.json\npools.d/b.json\npools.d/b.json.d/10.json\npools.d/b.json.d/"
        "20.json\n");
}

TEST_CASE("errors of a drop-in are told where the drop-in stands") {
  const ConfigTree tree;
  tree.write("pools.d/b.json", pool("b"));
  tree.write("pools.d/b.json.d/10.json", "{\"pools\":{\"b\":{\n\"workers\":-7}}}");
  CHECK(joined(tree.errors()) ==
        "pools.d/b.json.d/10.json:2:11: pools.b.workers: must be a whole number from 0 to 10000, "
        "\"auto\", or an object, like {\"min\": 1, \"max\": 8}, not -7\n");
}

TEST_CASE("deleting nothing and dropping into nothing are told, and harm nothing") {
  const ConfigTree tree;
  tree.write("pools.d/b.json", pool("b"));
  tree.write("pools.d/b.json.d/10.json", "{\"pools\":{\"b\":{\"max_task\":null}}}");
  tree.write("pools.d/c.json.d/10.json", "no json");
  const auto loaded = tree.load();
  CHECK(loaded.errors.empty());
  CHECK(tree.without_path(joined(loaded.configuration.warnings)) ==
        "pools.d/b.json.d/10.json:1:16: null deletes a key that is not there\n"
        "pools.d/c.json.d: is not used: there is no file c.json\n");
}

TEST_CASE("--config FILE reads that file only, and it may hold everything") {
  const ConfigTree tree;
  tree.write("one.json",
             "{\"limits\":{\"clients\":9},\"pools\":{\"web\":{\"command\":\"/bin/true\"}}}");
  tree.write("pools.d/a.json", "no json");
  const auto loaded = tree.load("one.json");
  CHECK(loaded.errors.empty());
  CHECK(loaded.configuration.daemon.max_clients == 9);
  CHECK(loaded.configuration.files.size() == 1);
}

TEST_CASE("comments, trailing commas, and keys that are nobody's") {
  const ConfigTree tree;
  tree.write("mtd.json",
             "// \"pools\": 1\n{/* { */\"$schema\":\"https://x//y\",\n\"x-note\":[1,2,],\n"
             "\"pools\":{\"web\":{\"command\":[\"/bin/true\",\"// /* */ "
             ",]\",],\"x-a\":1,\"env\":{\"$a\":1,},},\"x-old\":{}}}");
  const auto loaded = tree.load();
  const auto spec = mtd::test::pool_of(loaded);
  CHECK(joined(spec.command) == "/bin/true\n// /* */ ,]\n");
  CHECK(tree.without_path(joined(loaded.configuration.warnings)) ==
        "mtd.json:4:82: pools: \"x-old\" is ignored, as every key that begins with $ or x-\n");
}

TEST_CASE("columns count characters, comments included") {
  const ConfigTree tree;
  tree.write("mtd.json", "{/* \xC3\xA4\xE2\x82\xAC */ \"zzzzzzzzz\":1}");
  CHECK(joined(tree.errors()).starts_with("mtd.json:1:11: unknown key"));
}
