// The sockets that the workers share.
#include "common/escape.h"
#include "config/host_address.h"
#include "config/listen.h"
#include "config/pool_resolver.h"

namespace mtd::config {

void PoolResolver::listen() {
  const Node* written = node("listen");
  if (written == nullptr) return;
  const std::vector<std::string> texts = texts_of(*written);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Place place = argument_place(*written, i);
    const std::string shown = "\"" + escape_for_terminal(texts[i].substr(0, 128)) + "\"";
    const auto expanded = environment_.expand(texts[i]);
    if (!expanded) {
      fail(place, "listen", shown + ": " + expanded.error().message);
    } else if (has_markers(expanded->text)) {
      fail(place, "listen",
           shown +
               ": must be the same for all workers; reuse_port=yes gives each a socket of "
               "its own");
    } else if (auto socket = parse_listen(expanded->text, names()); !socket) {
      fail(place, "listen", shown + ": " + socket.error().message);
    } else {
      spec_.listen.push_back(with_defaults(std::move(*socket)));
    }
  }
}

ListenNames PoolResolver::names() {
  ListenNames names;
  names.host = resolve_host;
  names.group = [](const std::string& name) { return resolve_group(name); };
  names.user = [](const std::string& name) -> Result<std::uint32_t> {
    auto resolved = resolve_identity({name, std::nullopt, std::nullopt});
    if (const auto* error = std::get_if<IdentityError>(&resolved)) return Error{error->message};
    return std::get<Identity>(resolved).uid;
  };
  return names;
}

// A socket is named after its pool, and its file belongs to who runs the workers.
ListenSpec PoolResolver::with_defaults(ListenSpec socket) const {
  const bool of_manager = socket.kind == ListenKind::systemd;
  if (socket.name.empty()) socket.name = of_manager ? socket.address : pool_.name;
  if (socket.kind == ListenKind::unix_stream && spec_.identity) {
    if (!socket.uid) socket.uid = spec_.identity->uid;
    if (!socket.gid) socket.gid = spec_.identity->gid;
  }
  return socket;
}

}  // namespace mtd::config
