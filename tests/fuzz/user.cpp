// SPDX-License-Identifier: Apache-2.0
#include "user.hpp"

#include <algorithm>
#include <utility>

#include "require.hpp"

namespace fuzz {

using namespace culvert::hbone;

void User::start(Stream stream, std::uint32_t habits) {
    habits_ = habits;
    stream_ = std::move(stream);
    if (stream_) stream_.attach(*this);
}

void User::act(Input& input) {
    std::uint32_t what = input.number(1);
    switch (what % 5) {
        case 0: to_send_ += input.number(2); return stream_.want_to_send();
        case 1: ends_ = true; return stream_.want_to_send();
        case 2: return stream_.consumed(std::exchange(held_, 0));
        case 3: return leave();
        default: stream_.reset(input.number(1) % 14); reset_ = true;
    }
}

void User::expect_call(const char* name) {
    require(!reset_, std::string{"no call follows the end of a stream: "} + name);
    require(static_cast<bool>(stream_), std::string{"a user that left is not called: "} + name);
}

Filled User::fill(std::span<std::byte> room) {
    expect_call("fill");
    require(!said_end_, "nothing is asked for behind the end");
    require(!room.empty(), "there is room to fill");
    if (habits_ & leaves_on_fill) {
        leave();
        return {};
    }
    std::size_t here = std::min(room.size(), to_send_);
    std::fill_n(room.begin(), here, std::byte{'u'});
    to_send_ -= here;
    if (to_send_ > 0) return {here, Outcome::more};
    said_end_ = ends_;
    return {here, ends_ ? Outcome::end : Outcome::drained};
}

void User::on_data(std::span<const std::byte> data) {
    expect_call("on_data");
    require(!got_end_, "no data comes behind the end");
    in_batch_ = true;
    held_ += data.size();
    require(held_ <= window_, "a stream holds no more than its window");
    if (habits_ & answers) to_send_ += data.size();
    if (habits_ & leaves_on_data) leave();
}

void User::on_batch_end() {
    expect_call("on_batch_end");
    require(std::exchange(in_batch_, false), "a batch has data");
    if (!(habits_ & holds)) stream_.consumed(std::exchange(held_, 0));
    if (habits_ & answers) stream_.want_to_send();
    if (habits_ & leaves_on_batch_end) leave();
}

void User::on_end() {
    expect_call("on_end");
    require(!std::exchange(got_end_, true), "a stream ends once");
    require(!in_batch_, "a batch ends before its stream");
    if (habits_ & ends_too) {
        ends_ = true;
        stream_.want_to_send();
    }
    if (habits_ & leaves_on_end) leave();
}

void User::on_reset(const culvert::base::Error& why) {
    expect_call("on_reset");
    require(!in_batch_, "a batch ends before its stream fails");
    require(!why.to_string().empty(), "a failure has words");
    reset_ = true;
}

}
