// SPDX-License-Identifier: Apache-2.0
// A child that outlives a test process that crashed or was killed, and then removes what it had made.
//
// It is told each thing as it is made and again when it is gone: "pid N" (killed), "run a b c" (the command is run).
// Last made, first removed.
#pragma once
#include <string>

namespace culvert::test::janitor {

// Called once by main, before there are threads.
void hire();
void remember(const std::string& thing);
void forget(const std::string& thing);

}
