// SPDX-License-Identifier: Apache-2.0
// The life of what arrives on 15008: a peer's tunnel, and each CONNECT on it to the pod's app.
//
//   accept -> mutual TLS -> [CONNECT -> checks -> dial the app as the client -> 200 -> bytes -> one access-log line]...
#pragma once
#include <culvert/hbone/server.hpp>

#include "context.hpp"

namespace culvert::proxy {

// Serves one tunnel until it ends; its requests become tasks of `requests`. Borrows all three.
base::Task<> serve_tunnel(Context& context, PodPtr pod, hbone::Server& server, base::TaskGroup& requests,
                          Accepted accepted);

}
