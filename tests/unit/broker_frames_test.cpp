// What workers and clients may write, and what the broker writes back: text in, values out.
#include <doctest/doctest.h>

#include <string>

#include "common/task_frames.h"
#include "daemon/broker/client_frames.h"
#include "daemon/broker/task_message.h"
#include "daemon/broker/worker_frames.h"

using namespace mtd;
using namespace mtd::broker;

namespace {

std::string fault_of(std::string_view line) {
  const auto frame = parse_worker_frame(line);
  return frame ? std::string() : frame.error().message;
}

std::string client_fault(std::string_view line) {
  const auto frame = parse_client_frame(line);
  const auto* fault = std::get_if<ClientFault>(&frame);
  return fault == nullptr ? std::string() : fault->message;
}

task::SendTask task_seven() {
  task::SendTask action;
  action.id = {7};
  action.attempt = 2;
  return action;
}

}  // namespace

TEST_CASE("frames of workers") {
  const auto ready = parse_worker_frame(
      R"({"t":"ready","proto":1,"credit":3,"capabilities":["body","later"],"more":[1]})");
  REQUIRE(ready);
  CHECK(std::get<ReadyFrame>(*ready).credit == 3);
  CHECK(std::get<ReadyFrame>(*ready).capabilities == kTakesBodies);

  const auto done = parse_worker_frame(R"({"t":"done","id":7,"attempt":1,"result":{"a":[null]}})");
  REQUIRE(done);
  CHECK(std::get<AnswerFrame>(*done).done);
  CHECK(std::get<AnswerFrame>(*done).result == R"({"a":[null]})");

  const auto fail = parse_worker_frame(
      R"({"t":"fail","id":7,"attempt":1,"error":{"type":"E","message":"m","other":1},)"
      R"("retry":false,"delay_ms":5,"crash":true,"signal":9})");
  REQUIRE(fail);
  const auto& answer = std::get<AnswerFrame>(*fail);
  CHECK_FALSE(answer.done);
  CHECK_FALSE(answer.retry);
  CHECK(answer.crash);
  CHECK(answer.delay == Duration::milliseconds(5));
  CHECK(answer.death == task::Death{task::DeathCause::signal, 9});
  CHECK(answer.error == R"({"message":"m","signal":9,"type":"E"})");

  const auto progress = parse_worker_frame(R"({"t":"progress","id":7,"done":3,"text":"\"x"})");
  REQUIRE(progress);
  CHECK(std::get<ProgressFrame>(*progress).members == R"(,"done":3,"text":"\"x")");
  CHECK(std::holds_alternative<OtherFrame>(*parse_worker_frame(R"({"t":"beat"})")));
  CHECK(std::holds_alternative<OtherFrame>(*parse_worker_frame(R"({"t":"of a later time"})")));
}

TEST_CASE("what is no frame of a worker is named") {
  CHECK(fault_of("nonsense").find("no JSON") != std::string::npos);
  CHECK(fault_of("[]").find("JSON object") != std::string::npos);
  CHECK(fault_of("{}").find("\"t\"") != std::string::npos);
  CHECK(fault_of(R"({"t":"ready"})").find("proto") != std::string::npos);
  CHECK(fault_of(R"({"t":"ready","proto":2})").find("mtd-task/1") != std::string::npos);
  CHECK(fault_of(R"({"t":"ready","proto":1,"credit":0})").find("credit") != std::string::npos);
  CHECK(fault_of(R"({"t":"done","attempt":1})").find("\"id\"") != std::string::npos);
  CHECK(fault_of(R"({"t":"done","id":-7,"attempt":1})").find("\"id\"") != std::string::npos);
  CHECK(fault_of(R"({"t":"done","id":18446744073709551615,"attempt":1})").find("\"id\"") !=
        std::string::npos);
  CHECK(fault_of(R"({"t":"done","id":7})").find("attempt") != std::string::npos);
  CHECK(fault_of(R"({"t":"fail","id":7,"attempt":1,"error":"x"})").find("error") !=
        std::string::npos);
  CHECK(fault_of(R"({"t":"part","id":7,"attempt":1,"part":3,"of":3})").find("part") !=
        std::string::npos);
  CHECK(fault_of(R"({"t":"extend","id":7})").find("ms") != std::string::npos);
}

TEST_CASE("frames of clients") {
  const auto frame = parse_client_frame(
      R"({"t":"put","seq":0,"pool":"p","args":[1,"a"],"uid":"u","priority":-3,"delay_ms":10,)"
      R"("block_ms":-1,"attached":true,"timeout_ms":5})");
  const auto& put = std::get<PutFrame>(std::get<ClientFrame>(frame));
  CHECK(put.args == R"([1,"a"])");
  CHECK(put.priority == -3);
  CHECK(put.delay == Duration::milliseconds(10));
  CHECK(put.block->is_infinite());
  CHECK(put.attached);
  CHECK(put.timeout == Duration::milliseconds(5));
  const auto at = parse_client_frame(R"({"t":"put","seq":1,"pool":"p","at_ms":1700000000000})");
  CHECK(std::get<PutFrame>(std::get<ClientFrame>(at)).at->ns == 1'700'000'000'000'000'000);
  const auto wait = parse_client_frame(R"({"t":"wait","seq":2,"uid":"u"})");
  CHECK(std::get<WaitFrame>(std::get<ClientFrame>(wait)).uid == "u");
}

TEST_CASE("a client is told what is wrong") {
  CHECK(client_fault(R"({"t":"put","seq":1})").find("pool") != std::string::npos);
  CHECK(client_fault(R"({"t":"put","pool":"p"})").find("seq") != std::string::npos);
  CHECK(client_fault(R"({"t":"put","seq":1,"pool":"p","prio":1})").find("prio") !=
        std::string::npos);
  CHECK(client_fault(R"({"t":"put","seq":1,"pool":"p","priority":101})").find("100") !=
        std::string::npos);
  CHECK(client_fault(R"({"t":"put","seq":1,"pool":"p","uid":"a b"})").find("uid") !=
        std::string::npos);
  CHECK(client_fault(R"({"t":"put","seq":1,"pool":"p","delay_ms":1,"at_ms":2})").find("delay") !=
        std::string::npos);
  CHECK(client_fault(R"({"t":"wait","seq":1})").find("uid") != std::string::npos);
  CHECK(client_fault(R"({"t":"wait","seq":1,"id":1,"uid":"u"})").find("uid") != std::string::npos);
  CHECK(client_fault(R"({"t":"get","seq":1})").find("put, wait") != std::string::npos);
  const auto frame = parse_client_frame(R"({"t":"get","seq":5})");
  CHECK(std::get<ClientFault>(frame).seq == 5);
}

TEST_CASE("a task to a worker") {
  task::TaskBody body;
  body.name = "re\"size";
  body.args = "[1]";
  CHECK(task_frames_of(task_seven(), body, true) ==
        std::vector<std::string>{
            "{\"t\":\"task\",\"id\":7,\"attempt\":2,\"name\":\"re\\\"size\",\"args\":[1]}\n"});
  body.name.clear();
  body.data = "raw\n";
  task::SendTask action = task_seven();
  action.timeout = Duration::seconds(1);
  action.again = true;
  CHECK(task_frames_of(action, body, true).front() ==
        "{\"t\":\"task\",\"id\":7,\"attempt\":2,\"args\":[1],\"timeout_ms\":1000,\"again\":true,"
        "\"body\":4}\nraw\n");
  CHECK(task_frames_of(action, body, false).front().find("\"body_base64\":\"cmF3Cg==\"}\n") !=
        std::string::npos);
}

TEST_CASE("a body that does not fit comes in parts, each a frame that fits") {
  for (const bool raw : {true, false}) {
    for (const std::size_t size : {40'000U, 65'500U, 65'536U, 300'000U}) {
      task::TaskBody body;
      body.data.assign(size, '\xff');
      std::size_t sum = 0;
      for (const auto& frame : task_frames_of(task_seven(), body, raw)) {
        CHECK(frame.size() <= task_frames::kMaxWire);
        const auto read = task_frames::first_frame(frame, task_frames::kMaxWire);
        REQUIRE(read);
        REQUIRE(read->has_value());
        CHECK((*read)->size == frame.size());
        sum += (*read)->body ? (*read)->body->size() : 0;
      }
      if (raw) CHECK(sum == size);
    }
  }
}

TEST_CASE("base64") {
  CHECK(base64("").empty());
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64(std::string("\0\xff\xfe", 3)) == "AP/+");
}

TEST_CASE("the end of a task") {
  TaskEnd end;
  end.id = {3};
  auto answer = std::make_shared<task::Answer>();
  answer->result = "[1]";
  answer->data = "xy";
  end.answer = answer;
  CHECK(end_frame(9, end) ==
        "{\"t\":\"end\",\"seq\":9,\"id\":3,\"state\":\"done\",\"result\":[1],\"body\":2}\nxy");
  end = TaskEnd{};
  end.id = {3};
  end.state = task::TaskState::dead;
  end.reason = task::Reason::crashed;
  end.death = {task::DeathCause::signal, 9};
  end.attempts = 2;
  const std::string text = end_frame(9, end);
  CHECK(text.find("\"reason\":\"crash\",\"attempts\":2,\"signal\":9,\"error\":{") !=
        std::string::npos);
  CHECK(no_frame(std::nullopt, "BadRequest", "x\"y", 5) ==
        "{\"t\":\"no\",\"error\":\"BadRequest\",\"message\":\"x\\\"y\",\"retry_ms\":5}\n");
}

TEST_CASE("the end of a task whose result comes in parts, and of one whose result is lost") {
  CHECK(part_frame(3, {7}, 1, "ab") ==
        "{\"t\":\"part\",\"seq\":3,\"id\":7,\"part\":1,\"body\":2}\nab");
  TaskEnd end;
  end.id = {7};
  end.state = task::TaskState::done;
  auto answer = std::make_shared<task::Answer>();
  answer->file = "7.1";
  end.answer = answer;
  CHECK(end_frame(3, end, 2) ==
        "{\"t\":\"end\",\"seq\":3,\"id\":7,\"state\":\"done\",\"parts\":2}\n");
  const std::string lost = end_frame(3, without_result(end, "it is \"cut\" off"));
  CHECK(lost.find("\"state\":\"dead\"") != std::string::npos);
  CHECK(lost.find("ResultLost") != std::string::npos);
  CHECK(lost.find("lost: it is \\\"cut\\\" off\"}") != std::string::npos);
  CHECK(lost.find("parts") == std::string::npos);
}

TEST_CASE("a frame says the same whether it is plain or has to be parsed") {
  // A blank is all it takes.
  for (const std::string members :
       {R"("t":"put","seq":1,"pool":"p","args":["a",1,[true,null]],"priority":-3,"watch":true)",
        R"("t":"put","seq":1,"pool":"p","timeout_ms":5,"uid":"u","name":"n","block_ms":-1)",
        R"("t":"put","seq":1,"pool":7)", R"("t":"put","seq":1,"pool":"p","watch":1)",
        R"("t":"put","seq":1,"pool":"p","args":"x")", R"("t":"put","seq":"1","pool":"p")",
        R"("t":"put","seq":1,"pool":"p","later":1)", R"("t":"put","seq":1,"pool":null)",
        R"("t":"forget","id":3)", R"("t":"wait","seq":4,"id":3)", R"("t":"what","seq":4)"}) {
    CAPTURE(members);
    const auto plain = parse_client_frame("{" + members + "}");
    const auto parsed = parse_client_frame("{ " + members + "}");
    REQUIRE(plain.index() == parsed.index());
    if (const auto* fault = std::get_if<ClientFault>(&plain)) {
      CHECK(fault->message == std::get<ClientFault>(parsed).message);
      CHECK(fault->seq == std::get<ClientFault>(parsed).seq);
    } else if (const auto* put = std::get_if<PutFrame>(&std::get<ClientFrame>(plain))) {
      const auto& other = std::get<PutFrame>(std::get<ClientFrame>(parsed));
      CHECK(put->args == other.args);
      CHECK(put->priority == other.priority);
      CHECK(put->watch == other.watch);
      CHECK(put->timeout == other.timeout);
      CHECK(put->uid == other.uid);
      CHECK(put->block == other.block);
    }
  }
  for (const std::string members :
       {R"("t":"done","id":7,"attempt":1,"result":[1,"x",null])",
        R"("t":"done","id":7,"attempt":1)", R"("t":"done","id":7,"attempt":1,"result":null)",
        R"("t":"done","id":"7","attempt":1)", R"("t":"fail","id":7,"attempt":1,"error":"x")",
        R"("t":"fail","id":7,"attempt":1,"retry":0)",
        R"("t":"ready","proto":1,"credit":3,"capabilities":["body",1,"cancel"])",
        R"("t":"ready","proto":1,"capabilities":"body")"}) {
    CAPTURE(members);
    const auto plain = parse_worker_frame("{" + members + "}");
    const auto parsed = parse_worker_frame("{ " + members + "}");
    REQUIRE(plain.has_value() == parsed.has_value());
    if (!plain) {
      CHECK(plain.error().message == parsed.error().message);
    } else if (const auto* answer = std::get_if<AnswerFrame>(&*plain)) {
      CHECK(answer->result == std::get<AnswerFrame>(*parsed).result);
      CHECK(answer->done == std::get<AnswerFrame>(*parsed).done);
    } else {
      CHECK(std::get<ReadyFrame>(*plain).capabilities ==
            std::get<ReadyFrame>(*parsed).capabilities);
    }
  }
}
