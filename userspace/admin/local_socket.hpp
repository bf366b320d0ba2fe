// SPDX-License-Identifier: Apache-2.0
// A listening unix socket at a path.
#pragma once
#include <string>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::admin {

// Non-blocking, mode 0600 from its first moment on. Folders above it that are missing are made.
base::Result<base::Fd> listen_at(const std::string& path);
// Before the listener closes: whoever finds nobody answering may put a socket of his own there.
void leave_path(const std::string& path) noexcept;

}
