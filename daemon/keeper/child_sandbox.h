// The steps of run_child that a spec's sandbox asks for; each does nothing where it asks for
// nothing. What the kernel refuses ends the child: a worker is never started with less than its
// sandbox.
#pragma once

#include "daemon/keeper/child.h"

namespace mtd::keeper {

void set_scheduling(const ChildPlan& plan);
// A mount namespace of its own: first all that is to be read-only, then the private /tmp, so that
// this one can be written with "/" read-only. Changes of the machine's mounts still come in.
void make_mounts(const ChildPlan& plan, Scratch scratch);
// Before the change of users, while there is a right to do so: the bounding set, and that what is
// to be kept outlives the change.
void limit_capabilities(const ChildPlan& plan);
// After it: exactly what the spec says.
void set_capabilities(const ChildPlan& plan);
// Last: no_new_privs, and the filter, which needs it.
void lock_down(const ChildPlan& plan);

}  // namespace mtd::keeper
