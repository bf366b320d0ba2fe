// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/capture/capture.hpp>

namespace culvert::capture {

inline constexpr int listen_backlog = 4096;  // the kernel cuts it to net.core.somaxconn

// Who brings connections to the listeners of a pod: our programs alone, or for one part rules of Istio's CNI.
enum class Bringer { programs, rules };

// One listener per arrival, family and worker in the calling thread's namespace; for `dns` one per family, where no
// rules take the questions.
base::Result<std::vector<Listener>> open_listeners(unsigned workers, Bringer bringer, bool dns, bool ipv6);
Bringer bringer_of(const std::vector<Listener>& listeners);
std::string_view to_string(Bringer bringer) noexcept;  // after "is captured"

// Sets on the listeners what the connections accepted from them shall have: the kernel lets those inherit it, which
// saves as many syscalls for each.
base::Result<> bequeath(const std::vector<Listener>& listeners, const base::KeepAlive& keepalive);

}
