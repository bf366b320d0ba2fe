// SPDX-License-Identifier: Apache-2.0
// Everything the metrics door shows, asked for when somebody looks: nothing is kept here, nothing is pushed.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <culvert/telemetry/access_log.hpp>
#include <culvert/telemetry/counters.hpp>
#include <culvert/telemetry/families.hpp>
#include <culvert/telemetry/traffic.hpp>

namespace culvert::telemetry {

struct Sample {
    std::string label;  // the value of the family's label
    double value = 0;
};

// Lives on: any thread. Sources are called on the thread that asks, one at a time; what they refer to must live as
// long.
class Metrics : public prometheus::Collectable {
public:
    // Build information and the process's own figures are there from the start.
    Metrics(std::string version, std::string commit);

    void add(const Family& family, std::function<std::vector<Sample>()> source);
    void add(const Family& family, std::function<double()> source);
    void add(std::vector<const WorkerCounters*> workers);  // summed
    void add(const AccessLog& log);
    void add(std::function<void(std::vector<prometheus::MetricFamily>&)> source);

    // Of what has too many labels to be kept as objects: text of its own, in the dialect.
    void add_page(std::function<void(std::string&, Dialect)> source);

    // Families without a sample are left out.
    std::vector<prometheus::MetricFamily> Collect() const override;
    // Prometheus' text exposition, with OpenMetrics' "# EOF" at its end, as ztunnel writes it. A reader that gets no
    // "# EOF" got a part.
    std::string text(Dialect dialect = Dialect::prometheus) const;

private:
    mutable std::mutex lock_;
    std::vector<std::function<void(std::vector<prometheus::MetricFamily>&)>> sources_;
    std::vector<std::function<void(std::string&, Dialect)>> pages_;
};

}
