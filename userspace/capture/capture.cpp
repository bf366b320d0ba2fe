// SPDX-License-Identifier: Apache-2.0
#include <culvert/capture/capture.hpp>

#include "ebpf.hpp"
#include "host_probes.hpp"
#include "iptables.hpp"
#include "kernel.hpp"
#include "pins.hpp"
#include "records.hpp"
#include "undo.hpp"

namespace culvert::capture {

base::Result<std::unique_ptr<Capture>> Capture::start(boost::asio::io_context& io, Settings settings) {
    if (settings.workers == 0) return base::problem("capture needs at least one worker");
    switch (settings.mode) {
        case Mode::ebpf:
            if (IptablesCapture::has_traces(settings.instance))
                return base::problem("pods of " + settings.instance +
                                     " are captured by iptables; run: culvertd cleanup " + settings.instance);
            return EbpfCapture::start(io, std::move(settings));
        case Mode::iptables: return IptablesCapture::start(io, std::move(settings));
    }
    return base::problem("no such way of capture");
}

base::Result<> Capture::check(Mode mode) {
    return mode == Mode::ebpf ? check_kernel() : HostProbes::check();
}

bool Capture::has_traces(const std::string& instance) {
    const std::string bpffs = mounted_bpffs();
    return (!bpffs.empty() && Pins::exists(bpffs, instance)) || Records::home_exists(instance);
}

base::Result<> Capture::cleanup(const std::string& instance) {
    base::Result<> done = EbpfCapture::cleanup(instance);
    keep_first(done, IptablesCapture::cleanup(instance));
    return done;
}

bool Capture::is_held(const std::string& instance) {
    return Pins::are_held(mounted_bpffs(), instance);
}

}
