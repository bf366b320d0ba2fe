// SPDX-License-Identifier: Apache-2.0
// The tunnels of one worker whose TLS is not up yet: whoever opens many and says nothing must not keep others out.
//
// One source has no more than its share. When there are too many in all, the oldest goes: a handshake in good faith is
// over in milliseconds.
//
// Lives on: one worker.
#pragma once
#include <cstdint>
#include <utility>

#include <boost/intrusive/list.hpp>

#include <culvert/base/address.hpp>
#include <culvert/hbone/sources.hpp>

namespace culvert::hbone {

class Handshakes {
public:
    class Guest {
    public:
        Guest() = default;
        Guest(const Guest&) = delete;
        Guest& operator=(const Guest&) = delete;
        void leave() noexcept;  // it is up, or over; again: nothing

    protected:
        ~Guest() { leave(); }

    private:
        friend class Handshakes;
        // There are too many and this is the oldest: end, and leave() when it suits.
        virtual void put_out() = 0;
        Handshakes* house_ = nullptr;
        base::IpAddress source_;
        boost::intrusive::list_member_hook<> in_house_;
    };

    Handshakes(std::uint32_t most, std::uint32_t most_of_one) noexcept : most_{most}, most_of_one_{most_of_one} {}

    // False: this source has its share.
    bool enter(Guest& guest, const base::IpAddress& source);
    std::size_t size() const noexcept { return all_.size(); }

private:
    void leave(Guest& guest) noexcept;

    const std::uint32_t most_, most_of_one_;
    boost::intrusive::list<
        Guest, boost::intrusive::member_hook<Guest, boost::intrusive::list_member_hook<>, &Guest::in_house_>>
        all_;  // the oldest first
    Sources sources_;
};

}
