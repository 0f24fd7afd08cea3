//! Requests of the application to one module, each a type that knows the type of its reply.

/// A request of one module.
pub trait ModuleRequest: Sized {
    /// All requests of the module.
    type Request: From<Self>;
    /// All replies of the module.
    type Replies;
    /// The reply to this request.
    type Reply;

    /// Takes the reply out; `None` if it answers a request of another type.
    fn reply(reply: Self::Replies) -> Option<Self::Reply>;
}

/// Makes the enums `Request` and `Reply` of a module from a list of `Type => Reply type`.
#[macro_export]
macro_rules! requests {
    ($($request:ident => $reply:ty,)+) => {
        /// What an application can ask of this module.
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        pub enum Request {
            $(#[doc = concat!("See [`", stringify!($request), "`].")] $request($request),)+
        }

        /// The answer to a [`Request`], variant by variant.
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        pub enum Reply {
            $(#[doc = concat!("The answer to [`", stringify!($request), "`].")] $request($reply),)+
        }

        impl Request {
            /// Names the request.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$request(_) => stringify!($request),)+
                }
            }
        }

        impl Reply {
            /// Names the request that is answered.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$request(_) => stringify!($request),)+
                }
            }
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Self {
                    Self::$request(request)
                }
            }

            impl $crate::support::ModuleRequest for $request {
                type Request = Request;
                type Replies = Reply;
                type Reply = $reply;

                fn reply(reply: Reply) -> Option<Self::Reply> {
                    #[allow(irrefutable_let_patterns, reason = "a module may have one request")]
                    if let Reply::$request(answer) = reply { Some(answer) } else { None }
                }
            }
        )+
    };
}
