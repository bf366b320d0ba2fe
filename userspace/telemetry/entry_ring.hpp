// SPDX-License-Identifier: Apache-2.0
// Access log entries on their way from one worker to the writer thread.
#pragma once
#include <culvert/telemetry/access_log.hpp>
#include <culvert/telemetry/ring.hpp>

namespace culvert::telemetry {

using EntryRing = Ring<AccessEntry>;

}
