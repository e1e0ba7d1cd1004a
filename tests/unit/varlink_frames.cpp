// Framing: every split gives the same messages.
#include "common/varlink_frames.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using mtd::varlink::FrameBuffer;

namespace {

void take_all(FrameBuffer& buffer, std::vector<std::string>& frames) {
  while (const auto frame = buffer.next())
    frames.emplace_back(*frame);
}

const std::string kStream("{\"a\":1}\0\0{\"b\":2}\0x\0tail", 23);
const std::vector<std::string> kFrames{"{\"a\":1}", "", "{\"b\":2}", "x"};

}  // namespace

TEST_CASE("every split into two parts") {
  for (std::size_t split = 0; split <= kStream.size(); ++split) {
    FrameBuffer buffer;
    std::vector<std::string> frames;
    buffer.append(std::string_view(kStream).substr(0, split));
    take_all(buffer, frames);
    buffer.append(std::string_view(kStream).substr(split));
    take_all(buffer, frames);
    CAPTURE(split);
    CHECK(frames == kFrames);
    CHECK(buffer.size() == 4);
    CHECK_FALSE(buffer.has_frame());
  }
}

TEST_CASE("byte by byte, and all at once") {
  FrameBuffer bytes;
  std::vector<std::string> one_by_one;
  for (const char c : kStream) {
    bytes.append({&c, 1});
    take_all(bytes, one_by_one);
  }
  CHECK(one_by_one == kFrames);
}

TEST_CASE("a long unfinished message costs linear time and many short ones do too") {
  FrameBuffer slow;
  for (int i = 0; i < 1'000'000; ++i) {
    slow.append("x");
    if (slow.has_frame()) FAIL("no NUL was given");
  }
  CHECK(slow.size() == 1'000'000);

  FrameBuffer many;
  std::string burst;
  for (int i = 0; i < 200'000; ++i)
    burst += std::string("{}\0", 3);
  many.append(burst);
  int count = 0;
  while (many.next())
    ++count;
  CHECK(count == 200'000);
  CHECK(many.empty());
}
