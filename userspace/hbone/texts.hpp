// SPDX-License-Identifier: Apache-2.0
// What the access log says when a tunnel fails. People grep for these, and they are ztunnel's.
#pragma once
#include <string>

#include <culvert/base/address.hpp>
#include <culvert/base/result.hpp>

namespace culvert::hbone {

base::Error status_error(int status);            // "http status: 401 Unauthorized"
base::Error h2_error(const std::string& what);   // "h2 failed: ..."
base::Error dial_error(const base::Error& why);  // "io error: Connection refused (os error 111)"
base::Error dial_timeout(const base::SocketAddress& peer);
base::Error drain_error();  // "connection closed due to connection drain"
base::Error broken_pipe();  // "io error: broken pipe"
base::Error address_lost();
// Made once, so that it is there when memory is not: "h2 failed: the tunnel has ended"
const base::Error& tunnel_ended();
const base::Error& closed_by_peer();  // "h2 failed: the peer closed the tunnel"
const base::Error& peer_revoked();    // "connection closed: peer certificate revoked by CRL"

}
