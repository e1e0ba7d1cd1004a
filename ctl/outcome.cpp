#include "ctl/outcome.h"

namespace mtd::ctl {
namespace {

struct ErrorRow {
  std::string_view name;
  CtlExit code;
};

constexpr ErrorRow kErrors[] = {
    {"io.mtd.Manager.NoSuchPool", CtlExit::no_such},
    {"io.mtd.Manager.NoSuchWorker", CtlExit::no_such},
    {"io.mtd.Manager.Failed", CtlExit::failed},
    {"io.mtd.Manager.Conflict", CtlExit::failed},
    {"io.mtd.Manager.PermissionDenied", CtlExit::permission_denied},
    {"io.mtd.Manager.InvalidConfiguration", CtlExit::invalid_configuration},
    {"io.mtd.Manager.Busy", CtlExit::refused_for_now},
    {"io.mtd.Manager.NotReady", CtlExit::not_ready},
    {"io.mtd.Manager.ShuttingDown", CtlExit::failed},
    {"io.mtd.Tasks.NoSuchPool", CtlExit::no_such},
    {"io.mtd.Tasks.NoSuchTask", CtlExit::no_such},
    {"io.mtd.Tasks.NoQueue", CtlExit::failed},
    {"io.mtd.Tasks.Failed", CtlExit::failed},
    {"io.mtd.Tasks.StoreFailed", CtlExit::failed},
    {"io.mtd.Tasks.NotServing", CtlExit::unreachable},
    {"io.mtd.Tasks.PermissionDenied", CtlExit::permission_denied},
    {"io.mtd.Tasks.ShuttingDown", CtlExit::failed},
    {"org.varlink.service.InterfaceNotFound", CtlExit::usage},
    {"org.varlink.service.MethodNotFound", CtlExit::usage},
    {"org.varlink.service.MethodNotImplemented", CtlExit::usage},
    {"org.varlink.service.InvalidParameter", CtlExit::usage},
    {"org.varlink.service.ExpectedMore", CtlExit::usage},
};

}  // namespace

CtlExit exit_code_of_error(std::string_view error_name) {
  for (const ErrorRow& row : kErrors) {
    if (row.name == error_name) return row.code;
  }
  return CtlExit::failed;
}

}  // namespace mtd::ctl
