// SPDX-License-Identifier: Apache-2.0
// What a daemon of a DaemonSet does once another has taken its pods over and its own connections are finished. A
// container that ended would be started again at once, and take the pods back from its successor.
#pragma once
#include <string>

namespace culvert::node {

// Returns when nobody has held the instance for some seconds: whoever succeeded us is gone, and whoever starts us again
// is right. TERM and INT end the process.
void stand_by(const std::string& instance);

}
