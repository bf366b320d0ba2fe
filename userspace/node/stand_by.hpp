// SPDX-License-Identifier: Apache-2.0
// What a daemon of a DaemonSet does once another has taken its pods over and its own connections are finished. A
// container that ended would be started again at once, and take the pods back from its successor.
#pragma once
#include <string>

namespace culvert::node {

// True: TERM or INT has come, now or while signals were held, which it wants them to be. False: nobody has held the
// instance for some seconds: whoever succeeded us is gone, and whoever starts us again is right.
bool stand_by(const std::string& instance);

}
