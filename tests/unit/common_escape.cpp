// Nothing that drives a terminal comes through.
#include <doctest/doctest.h>

#include <string>

#include "common/escape.h"

using mtd::escape_for_terminal;
using mtd::is_valid_utf8;

TEST_CASE("text for people is unchanged") {
  for (const char* text :
       {"", "plain", "gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "a\\b \"c\""}) {
    CHECK(escape_for_terminal(text) == text);
  }
}

TEST_CASE("controls, overrides and broken bytes become visible") {
  CHECK(escape_for_terminal("\x1b]0;x\x07") == "\\x1B]0;x\\x07");
  CHECK(escape_for_terminal("a\nb\tc\r") == "a\\x0Ab\\x09c\\x0D");
  CHECK(escape_for_terminal("\x7f") == "\\x7F");
  CHECK(escape_for_terminal(std::string("a\0b", 3)) == "a\\x00b");
  CHECK(escape_for_terminal("\xc2\x9b"
                            "2J") == "\\u{009B}2J");
  CHECK(escape_for_terminal("\xe2\x80\xae"
                            "abc") == "\\u{202E}abc");
  CHECK(escape_for_terminal("\xe2\x81\xa6") == "\\u{2066}");
  CHECK(escape_for_terminal("\xe2\x80\xa8") == "\\u{2028}");
  CHECK(escape_for_terminal("\xef\xbb\xbf") == "\\u{FEFF}");
  CHECK(escape_for_terminal("\xff\xc3") == "\\xFF\\xC3");
  CHECK(escape_for_terminal("\xed\xa0\x80") == "\\xED\\xA0\\x80");
  CHECK(escape_for_terminal("\x9b") == "\\x9B");
}

TEST_CASE("whatever the 256 bytes are, the outcome is printable") {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text{static_cast<char>(a), static_cast<char>(b)};
      const std::string shown = escape_for_terminal(text);
      REQUIRE(is_valid_utf8(shown));
      for (const char c : shown) {
        const auto byte = static_cast<unsigned char>(c);
        REQUIRE((byte >= 0x20 && byte != 0x7F));
      }
    }
  }
}

TEST_CASE("UTF-8 is the shortest form of a scalar value") {
  CHECK(is_valid_utf8(""));
  CHECK(is_valid_utf8("\xf4\x8f\xbf\xbf"));
  for (const char* text :
       {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\x80", "\xc3", "\xe2\x82", "\xff"}) {
    CHECK(!is_valid_utf8(text));
  }
}
