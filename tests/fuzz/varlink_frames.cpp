// Fuzz target: whatever bytes come, framing, parsing, routing and the interplay of splits agree,
// and a call that is accepted prints and parses again to the same.
#include "common/varlink_frames.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/varlink_json.h"
#include "common/varlink_message.h"
#include "daemon/control/router.h"

namespace {

using namespace mtd;

void expect(bool condition) {
  if (!condition) std::abort();
}

std::vector<std::string> frames_of(std::string_view bytes, std::size_t step) {
  varlink::FrameBuffer buffer;
  std::vector<std::string> frames;
  while (!bytes.empty()) {
    const std::size_t size = bytes.size() < step ? bytes.size() : step;
    buffer.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    while (const auto frame = buffer.next())
      frames.emplace_back(*frame);
  }
  return frames;
}

void try_call(const control::ControlRouter& router, std::string_view frame) {
  auto parsed = varlink::parse_call(frame);
  if (auto* call = std::get_if<varlink::CallMessage>(&parsed)) {
    for (const auto tier : {control::Tier::read, control::Tier::admin}) {
      control::Peer peer;
      peer.tier = tier;
      const control::Routed routed = router.route(*call, peer);
      if (routed.kind != control::Routed::Kind::dispatch) {
        expect(varlink::parse_json(routed.parameters).has_value());
      }
    }
    const std::string text = varlink::to_text(*call->parameters);
    const auto again = varlink::parse_json(text);
    expect(again.has_value() && varlink::to_text(*again) == text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const control::ControlRouter kRouter{control::ServiceInfo{}};
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto frames = frames_of(bytes, size + 1);
  expect(frames == frames_of(bytes, 1));
  expect(frames == frames_of(bytes, 7));
  for (const std::string& frame : frames)
    try_call(kRouter, frame);
  try_call(kRouter, bytes);
  return 0;
}
