#include "ctl/render_pools.h"

#include <nlohmann/json.hpp>

#include "ctl/json_access.h"
#include "ctl/phrases.h"

namespace mtd::ctl {
namespace {

// When the daemon has nothing to say: the state it left the pool in.
std::string message_of(const Json& pool) {
  if (std::string message = safe_text(pool, "message"); !message.empty()) return message;
  std::string result = safe_text(pool, "state");
  if (const auto ready = integer(pool, "ready")) {
    result += ", " + std::to_string(*ready) + "/" + number_phrase(integer(pool, "want")) + " ready";
  }
  return result;
}

std::string stuck_lines(const Json& pool) {
  std::string result;
  for (const Json& process : array(pool, "stuck")) {
    result += "  " + safe_text(process, "worker") + ": process " +
              number_phrase(integer(process, "pid")) +
              " cannot be killed (it hangs in the kernel)\n";
  }
  return result;
}

}  // namespace

std::string render_pools(const Json& reply, const Screen& screen) {
  std::string result;
  for (const Json& pool : array(reply, "pools")) {
    const Json& done = member(pool, "ok");
    const bool failed = done.is_boolean() && !done.get<bool>();
    result += screen.paint(safe_text(pool, "name"), Colour::bold) + ": " +
              screen.paint(message_of(pool), failed ? Colour::red : Colour::plain) + "\n" +
              stuck_lines(pool);
  }
  return result;
}

void print_pools(const Context& context, const Json& reply) {
  if (context.options().quiet) return;
  if (context.options().wants_json()) return context.print(reply);
  if (context.options().format == Format::name) {
    for (const Json& pool : array(reply, "pools"))
      context.out.line(safe_text(pool, "name"));
    return;
  }
  context.out.write(render_pools(reply, context.screen));
}

std::vector<std::string> selectors(const Context& context) {
  if (context.options().all) return {"*"};
  return context.invocation.words;
}

}  // namespace mtd::ctl
