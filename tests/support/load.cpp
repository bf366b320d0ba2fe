// SPDX-License-Identifier: Apache-2.0
#include "load.hpp"

namespace culvert::test {

Load::Load(const Pod& from, SocketAddress to, std::string text, int callers) {
    for (int i = 0; i < callers; ++i) callers_.emplace_back([this, &from, to, text] { call_on(from, to, text); });
}

void Load::stop() {
    ending_ = true;
    for (std::thread& caller : callers_) caller.join();
    callers_.clear();
}

std::string Load::first_failure() const {
    std::lock_guard lock{mutex_};
    return first_failure_;
}

bool Load::goes_on(int more, Milliseconds limit) const {
    const int before = answered_;
    return eventually(limit, [&] { return answered_ >= before + more; });
}

void Load::call_on(const Pod& from, SocketAddress to, std::string text) {
    while (!ending_) {
        try {
            if (!from.dial(to).echoes(text)) throw std::runtime_error("another's bytes came back");
            ++answered_;
        } catch (const std::exception& failure) {
            ++failed_;
            std::lock_guard lock{mutex_};
            if (first_failure_.empty()) first_failure_ = failure.what();
        }
        std::this_thread::sleep_for(2ms);  // a client's own pace: refused ones would spin
    }
}

}
