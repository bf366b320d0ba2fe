// SPDX-License-Identifier: Apache-2.0
#include <culvert/capture/capture.hpp>

#include "ebpf.hpp"

namespace culvert::capture {

base::Result<std::unique_ptr<Capture>> Capture::start(boost::asio::io_context& io, Settings settings) {
    if (settings.workers == 0) return base::problem("capture needs at least one worker");
    switch (settings.mode) {
        case Mode::ebpf: return EbpfCapture::start(io, std::move(settings));
        case Mode::iptables: break;
    }
    return base::problem("capture: iptables is not built in");
}

base::Result<> Capture::cleanup(const std::string& instance) {
    return EbpfCapture::cleanup(instance);
}

}
