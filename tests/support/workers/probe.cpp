// Tells, as one JSON object to the socket named by REPORT, all that a process inherits; then
// sleeps. Statically linked and without an interpreter: what it finds is what it was given.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    char buffer[8];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
      out += buffer;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string descriptors() {
  std::map<int, std::string> open;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return "{}";
  while (const dirent* entry = readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] == '.' || fd == dirfd(directory)) continue;
    char target[512];
    const std::string link = std::string("/proc/self/fd/") + entry->d_name;
    const ssize_t length = readlink(link.c_str(), target, sizeof target);
    open[fd] = length < 0 ? "" : std::string(target, static_cast<std::size_t>(length));
  }
  closedir(directory);
  std::string out;
  for (const auto& entry : open) {
    out +=
        (out.empty() ? "" : ",") + quoted(std::to_string(entry.first)) + ":" + quoted(entry.second);
  }
  return "{" + out + "}";
}

std::string status_fields() {
  std::ifstream file("/proc/self/status");
  std::string line, out;
  while (std::getline(file, line)) {
    for (const char* name :
         {"SigBlk", "SigIgn", "SigCgt", "SigPnd", "Uid", "Gid", "Groups", "CapInh", "CapPrm",
          "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Umask", "Cpus_allowed_list"}) {
      const std::string prefix = std::string(name) + ":\t";
      if (line.compare(0, prefix.size(), prefix) != 0) continue;
      out += "," + quoted(name) + ":" + quoted(line.substr(prefix.size()));
    }
  }
  return out;
}

std::string limits() {
  std::string out;
  for (int resource = 0; resource < 16; ++resource) {
    rlimit limit{};
    getrlimit(static_cast<__rlimit_resource>(resource), &limit);
    out += std::string(out.empty() ? "" : ",") + "[" +
           std::to_string(static_cast<long long>(limit.rlim_cur)) + "," +
           std::to_string(static_cast<long long>(limit.rlim_max)) + "]";
  }
  return "[" + out + "]";
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// With ATTEMPTS in the environment: what the kernel says to writing the files it names, and to
// system calls that a sandbox refuses. 0: it was allowed.
std::string attempts() {
  const char* wanted = std::getenv("ATTEMPTS");
  if (wanted == nullptr) return "{}";
  std::string out;
  const auto add = [&](const std::string& what, bool done) {
    out += (out.empty() ? "" : ",") + quoted(what) + ":" + std::to_string(done ? 0 : errno);
  };
  std::string paths = wanted;
  for (char* path = std::strtok(paths.data(), ":"); path != nullptr;
       path = std::strtok(nullptr, ":")) {
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    add(path, file >= 0);
    if (file >= 0) close(file);
  }
  add("mount", mount("none", "/nowhere", "tmpfs", 0, nullptr) == 0);
  add("clone3", syscall(SYS_clone3, nullptr, 0) == 0);
  add("setns", setns(-1, 0) == 0);
  add("socket", close(socket(AF_UNIX, SOCK_STREAM, 0)) == 0);
  return "{" + out + "}";
}

}  // namespace

int main(int argc, char** argv) {
  const std::string open = descriptors();  // before anything else is opened
  char directory[1024] = "";
  if (getcwd(directory, sizeof directory) == nullptr) directory[0] = '\0';
  std::string environment, arguments;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment += std::string(environment.empty() ? "" : ",") + quoted(*variable);
  }
  for (int i = 0; i < argc; ++i)
    arguments += std::string(i == 0 ? "" : ",") + quoted(argv[i]);
  const std::string out =
      "{\"what\":\"probe\",\"pid\":" + std::to_string(getpid()) +
      ",\"ppid\":" + std::to_string(getppid()) + ",\"sid\":" + std::to_string(getsid(0)) +
      ",\"pgid\":" + std::to_string(getpgrp()) + ",\"cwd\":" + quoted(directory) +
      ",\"nice\":" + std::to_string(getpriority(PRIO_PROCESS, 0)) +
      ",\"timer_slack\":" + std::to_string(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)) +
      ",\"dumpable\":" + std::to_string(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)) +
      ",\"io_priority\":" + std::to_string(syscall(SYS_ioprio_get, 1, 0)) +
      ",\"attempts\":" + attempts() +
      ",\"oom_score_adj\":" + quoted(first_line("/proc/self/oom_score_adj")) +
      ",\"cgroup\":" + quoted(first_line("/proc/self/cgroup")) + ",\"descriptors\":" + open +
      ",\"limits\":" + limits() + ",\"environment\":[" + environment + "],\"arguments\":[" +
      arguments + "]" + status_fields() + "}";
  const char* path = std::getenv("REPORT");
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path != nullptr) std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (sendto(fd, out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&address), sizeof address) <
      0)
    std::perror("probe");
  close(fd);
  for (;;)
    pause();
}
