// SPDX-License-Identifier: Apache-2.0
#include <culvert/hbone/handshakes.hpp>

namespace culvert::hbone {

bool Handshakes::enter(Guest& guest, const base::IpAddress& source) {
    std::uint32_t& here = sources_[source];
    if (here >= most_of_one_) return false;
    ++here;
    guest.house_ = this;
    guest.source_ = source;
    all_.push_back(guest);
    if (all_.size() > most_) all_.front().put_out();
    return true;
}

void Handshakes::leave(Guest& guest) noexcept {
    all_.erase(all_.iterator_to(guest));
    auto source = sources_.find(guest.source_);
    if (source != sources_.end() && --source->second == 0) sources_.erase(source);
}

void Handshakes::Guest::leave() noexcept {
    if (Handshakes* house = std::exchange(house_, nullptr)) house->leave(*this);
}

}
