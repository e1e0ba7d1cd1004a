// A worker for crowds: small, and does nothing but answer each task with its own pid. Its tasks are
// short lines, so that it needs no JSON: id and attempt are cut out, as worker.sh does.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

int fd = -1;

void say(const char* text, int size) {
  if (send(fd, text, static_cast<size_t>(size), MSG_NOSIGNAL) != size) _exit(1);
}

bool number_after(const char* line, const char* name, unsigned long long& value) {
  const char* const at = std::strstr(line, name);
  return at != nullptr && std::sscanf(at + std::strlen(name), "%llu", &value) == 1;
}

void attend(const char* line) {
  unsigned long long id = 0, attempt = 0;
  if (std::strncmp(line, "{\"t\":\"drain\"", 12) == 0) _exit(0);
  if (std::strncmp(line, "{\"t\":\"task\"", 11) != 0) return;
  if (!number_after(line, "\"id\":", id) || !number_after(line, "\"attempt\":", attempt)) _exit(2);
  char answer[160];
  say(answer, std::snprintf(answer, sizeof answer,
                            "{\"t\":\"done\",\"id\":%llu,\"attempt\":%llu,\"result\":%d}\n", id,
                            attempt, static_cast<int>(getpid())));
}

}  // namespace

int main() {
  const char* const number = std::getenv("MTD_TASK_FD");
  if (number == nullptr) return 2;
  fd = std::atoi(number);
  const char ready[] = "{\"t\":\"ready\",\"proto\":1,\"credit\":1}\n";
  say(ready, sizeof ready - 1);
  char buffer[65537];
  size_t filled = 0;
  for (;;) {
    const ssize_t size = read(fd, buffer + filled, sizeof buffer - 1 - filled);
    if (size <= 0) return 0;
    filled += static_cast<size_t>(size);
    buffer[filled] = '\0';
    char* line = buffer;
    for (char* end = std::strchr(line, '\n'); end != nullptr; end = std::strchr(line, '\n')) {
      *end = '\0';
      attend(line);
      line = end + 1;
    }
    filled -= static_cast<size_t>(line - buffer);
    std::memmove(buffer, line, filled);
  }
}
