// The control transport's names, as the supervisor's handlers use them.
#pragma once

#include "daemon/control/call.h"
#include "daemon/control/server.h"

namespace mtd::supervisor {

using control::AuditRecord;
using control::Call;
using control::ControlLimits;
using control::ControlServer;
using control::ControlUse;
using control::Dispatcher;
using control::kMaxPieceBytes;
using control::Peer;
using control::Piece;
using control::ServiceInfo;

}  // namespace mtd::supervisor
