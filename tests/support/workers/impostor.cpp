// Stands where a new mtd or mtd-supervisor is expected and is none, or not quite. What it does is
// read from the file OWN-NAME.how, one line an occasion: "self-test HOW", "run HOW" (started as a
// role) and "handover HOW" (executed by a keeper in its place). HOW: real PATH (executes that),
// exit N, crash, hang, says TEXT, await PATH REAL (executes REAL as soon as PATH exists), unfit
// REAL (can be executed no more, then executes REAL), refuse (executes the old keeper back).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace {

constexpr char kHandover[] = "MTD_HANDOVER=";

char* handover() {
  for (char** at = environ; *at != nullptr; ++at) {
    if (std::strncmp(*at, kHandover, sizeof kHandover - 1) == 0) return *at;
  }
  return nullptr;
}

void refuse(char** argv) {
  char* const word = handover();
  word[std::strlen(word) - 1] = '1';
  const int writer = std::atoi(std::strchr(word, ',') + 1);
  syscall(SYS_execveat, writer, "", argv, environ, AT_EMPTY_PATH);
}

}  // namespace

int main(int argc, char** argv) {
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 90;
  const std::string occasion = argc > 1 && std::strcmp(argv[1], "--self-test") == 0 ? "self-test"
                               : handover() != nullptr                              ? "handover"
                                                                                    : "run";
  std::ostringstream how_file;  // read at once: nothing of ours is to stay open over an exec
  how_file << std::ifstream(std::string(self) + ".how").rdbuf();
  std::istringstream file(how_file.str());
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string at, how, first, second;
    words >> at >> how >> first >> second;
    if (at != occasion) continue;
    if (how == "real") execv(first.c_str(), argv);
    if (how == "exit") return std::atoi(first.c_str());
    if (how == "crash") std::abort();
    if (how == "hang") {
      for (;;)
        pause();
    }
    if (how == "says") return std::puts(line.c_str() + line.find(first)) < 0 ? 1 : 0;
    if (how == "await") {
      while (access(first.c_str(), F_OK) != 0)
        usleep(5000);
      execv(second.c_str(), argv);
    }
    if (how == "unfit") {
      chmod(self, 0644);
      execv(first.c_str(), argv);
    }
    if (how == "refuse") refuse(argv);
    return 91;
  }
  return 92;
}
