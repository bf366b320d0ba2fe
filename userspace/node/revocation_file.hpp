// SPDX-License-Identifier: Apache-2.0
// The CRL file of the configuration, read again whenever it changes.
//
// Lives on: the control thread.
#pragma once
#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <memory>
#include <string>

#include <culvert/base/result.hpp>
#include <culvert/control/watch.hpp>
#include <culvert/telemetry/metrics.hpp>

namespace culvert::node {

class RevocationFile {
public:
    // One that is not there revokes nothing until it comes. One that cannot be read is an error, now; later it is said,
    // counted, and what was in force stays.
    static base::Result<std::unique_ptr<RevocationFile>> open(boost::asio::io_context& io, std::string file);

    // How many it revokes, and how its readings went.
    void expose(telemetry::Metrics& metrics) const;

private:
    explicit RevocationFile(std::string file) : file_{std::move(file)} {}
    base::Result<> read();
    void read_again();

    std::string file_;
    std::uint64_t good_ = 0, bad_ = 0;
    std::size_t size_ = 0;
    std::unique_ptr<control::FileWatch> watch_;
};

}
