// SPDX-License-Identifier: Apache-2.0
// systemd's readiness protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Written out rather than linked, since
// libsystemd would be this daemon's largest dependency for it.
#pragma once
#include <string_view>

namespace culvert::node {

// "READY=1", "STOPPING=1", "STATUS=...". Does nothing without a service manager.
void notify(std::string_view state) noexcept;

}
