// Signal names both ways.
#include <doctest/doctest.h>
#include <signal.h>

#include "common/signals.h"

using mtd::parse_signal;
using mtd::signal_name;
using mtd::SignalNumber;

TEST_CASE("signals are read by name and number") {
  for (const char* text : {"TERM", "SIGTERM", "term", "sigterm", "SigTerm", "15"}) {
    const auto signal = parse_signal(text);
    REQUIRE(signal.has_value());
    CHECK(signal->value == SIGTERM);
  }
  CHECK(parse_signal("IOT")->value == SIGABRT);
  CHECK(parse_signal("CLD")->value == SIGCHLD);
  CHECK(parse_signal("RTMIN")->value == 34);
  CHECK(parse_signal("SIGRTMIN+3")->value == 37);
  CHECK(parse_signal("RTMAX-1")->value == 63);
  CHECK(parse_signal("RTMIN+30")->value == 64);
  CHECK(parse_signal("1")->value == 1);
  CHECK(parse_signal("64")->value == 64);
}

TEST_CASE("what is no signal is refused") {
  for (const char* text :
       {"", "0", "65", "-9", "9x", "SIG", "FOO", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+",
        "RTMIN+-1", "RTMIN+999999999999", " TERM", "4294967305"}) {
    CHECK_MESSAGE(!parse_signal(text).has_value(), text);
  }
  CHECK(parse_signal("TERMM").error().message ==
        "\"TERMM\" is not a signal; write a name like \"TERM\" or \"SIGUSR1\", \"RTMIN+3\", or a "
        "number from 1 to 64");
}

TEST_CASE("every signal's name is read back") {
  for (int number = 1; number <= 64; ++number) {
    CHECK(parse_signal(signal_name(SignalNumber{number}))->value == number);
  }
  CHECK(signal_name(SignalNumber{9}) == "KILL");
  CHECK(signal_name(SignalNumber{33}) == "33");
  CHECK(signal_name(SignalNumber{36}) == "RTMIN+2");
  CHECK(signal_name(SignalNumber{0}) == "0");
}
