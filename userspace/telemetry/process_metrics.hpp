// SPDX-License-Identifier: Apache-2.0
// The process's own figures under the names that every Prometheus client uses.
#pragma once
#include <vector>

#include <prometheus/metric_family.h>

namespace culvert::telemetry {

// A figure that /proc does not give is left out.
void append_process_metrics(std::vector<prometheus::MetricFamily>& out);

}
