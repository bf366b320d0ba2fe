// SPDX-License-Identifier: Apache-2.0
// DNS messages on a TCP connection: two bytes of length before each. The caller sets the limit by within().
#pragma once
#include <culvert/base/socket.hpp>
#include <culvert/dns/message.hpp>

namespace culvert::dns {

// Fails at the end of the stream, too.
base::Task<base::Result<Bytes>> read_message(base::Socket& socket);
base::Task<base::Result<>> write_message(base::Socket& socket, Bytes message);

}
