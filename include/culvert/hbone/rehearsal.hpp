// SPDX-License-Identifier: Apache-2.0
// A tunnel's HTTP/2 with ourselves, in memory: what the first connection would else have to bring into memory is there.
#pragma once
#include <culvert/base/result.hpp>

namespace culvert::hbone {

// One CONNECT, its 200 and its end. Fails without memory, and when the two ends do not understand each other.
base::Result<> rehearse();

}
