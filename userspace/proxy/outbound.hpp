// SPDX-License-Identifier: Apache-2.0
// The life of an outbound connection: an app's connect(), captured by sockops, to the far end.
//
//   accept -> who is the pod, where does the target live -> tunnel, or plain TCP -> bytes -> one access-log line
#pragma once
#include "context.hpp"

namespace culvert::proxy {

// Lives on: the worker that accepted it. The context outlives the task; the others are borrowed until its first wait.
base::Task<> carry_outbound(Context& context, const PodPtr& pod, Accepted& accepted);

}
