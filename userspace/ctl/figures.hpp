// SPDX-License-Identifier: Apache-2.0
// Values of an answer in the words of people. What an answer lacks reads as nothing: daemons of other versions.
#pragma once
#include <boost/json/value.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace culvert::ctl {

std::string bytes(double count);        // "0 B", "1.5 KiB"
std::string time_span(double seconds);  // "0.4s", "12s", "3m07s", "5h04m", "12d3h"
std::string per_second(double rate);    // "0", "0.5", "1200"
std::string time_until(std::string_view rfc3339, std::chrono::system_clock::time_point now);  // "in 23h59m", "5m ago"
// spiffe://cluster.local/ns/web/sa/default without its spiffe://
std::string short_identity(std::string_view identity);

// A path of keys separated by '.'.
const boost::json::value& at(const boost::json::value& answer, std::string_view path);
std::string text_at(const boost::json::value& answer, std::string_view path);
double number_at(const boost::json::value& answer, std::string_view path);
std::string count_at(const boost::json::value& answer, std::string_view path);  // a whole number's digits
const boost::json::array& list_at(const boost::json::value& answer, std::string_view path);

// A pod of the list at "pods", by its name, namespace/name or uid.
bool is_called(const boost::json::value& pod, const std::string& name);

}
