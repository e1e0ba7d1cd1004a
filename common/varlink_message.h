// The Varlink messages: a call as parsed from a frame, and the texts of calls and answers (each
// with its ending NUL). See varlink.org/Method-Call.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json_fwd.hpp>

namespace mtd::varlink {

inline constexpr std::string_view kServiceInterface = "org.varlink.service";

struct CallMessage {
  std::string method;                          // in full
  std::unique_ptr<nlohmann::json> parameters;  // an object, maybe empty
  bool more = false;
  bool oneway = false;
  bool upgrade = false;  // the connection speaks something else after the answer

  CallMessage();
  CallMessage(CallMessage&&) noexcept;
  CallMessage& operator=(CallMessage&&) noexcept;
  ~CallMessage();
  [[nodiscard]] std::string_view interface() const;  // of the method; empty without a dot
  [[nodiscard]] std::string_view member() const;     // "Status"
};

struct CallFault {
  std::string parameter;  // the member at fault; "call": the whole message
  std::string message;
  bool fatal = false;  // no Varlink call at all: the connection is to be closed
};

[[nodiscard]] std::variant<CallMessage, CallFault> parse_call(std::string_view frame);

// `parameters` and `error` as they are put on the wire; `parameters_text` is a JSON object.
[[nodiscard]] std::string reply_message(std::string_view parameters_text, bool continues);
[[nodiscard]] std::string error_message(std::string_view error, std::string_view parameters_text);
[[nodiscard]] std::string call_message(std::string_view method, const nlohmann::json& parameters,
                                       bool more);

}  // namespace mtd::varlink
