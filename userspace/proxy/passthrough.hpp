// SPDX-License-Identifier: Apache-2.0
// The life of a plaintext connection that arrives for a pod from outside the mesh.
//
//   accept -> dial the app at the same address, as the client -> bytes -> one access-log line without identities
#pragma once
#include "context.hpp"

namespace culvert::proxy {

base::Task<> carry_passthrough(Context& context, PodPtr pod, Accepted accepted);

}
